// Detect objects in an image with an exported detector: ONNX Runtime and OpenCV, no Python.
//
//   python tools/export.py CONFIG --checkpoint CHECKPOINT --out detector.onnx
//   detect detector.onnx image.jpg drawn.png
//
// To be read, and copied. Any detector that tools/export.py writes, also with --shape and --batch dynamic; the file
// says how an image is resized and padded, and what the classes are.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using nlohmann::json;
using Colour = std::array<double, 3>;

constexpr float kLowestScore = 0.3f;
constexpr int kSmallestSide = 32;

// One object, in the pixels of the image as it was read.
struct Object {
  std::string name;
  float score;
  cv::Rect2f box;
};

class Detector {
 public:
  explicit Detector(const std::string& path);
  std::vector<Object> operator()(const cv::Mat& image);

 private:
  std::string text(const char* key);  // of the file's metadata

  Ort::Env env_{ORT_LOGGING_LEVEL_FATAL, "detect"};  // what goes wrong is in an exception
  Ort::Session session_{nullptr};
  std::vector<std::string> classes_;
  json steps_;      // that resize an image
  Colour pad_;      // red, green and blue of what is added to an image of a fixed size
  cv::Size fixed_;  // empty if the file takes images of any size
};

Detector::Detector(const std::string& path) {
  try {
    session_ = Ort::Session(env_, std::filesystem::path(path).c_str(), Ort::SessionOptions{});
  } catch (const Ort::Exception& error) {
    throw std::runtime_error(path + " cannot be read as an ONNX model: " + error.what());
  }
  if (text("part") != "detector" || text("task") != "detection")
    throw std::runtime_error(path + " holds no detector: export one by tools/export.py, without --part");
  const auto shape = session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  if (shape.size() != 4 || shape[0] > 1)
    throw std::runtime_error(path + " does not take one image at a time: export it without --batch");
  fixed_ = cv::Size(std::max<int64_t>(shape[3], 0), std::max<int64_t>(shape[2], 0));
  try {
    const json input = json::parse(text("input"));
    classes_ = json::parse(text("classes")).get<std::vector<std::string>>();
    steps_ = input.at("resize");
    pad_ = input.value("pad", Colour{});
  } catch (const json::exception& error) {
    throw std::runtime_error(path + " has metadata that tools/export.py does not write: " + error.what());
  }
}

std::string Detector::text(const char* key) {
  Ort::AllocatorWithDefaultOptions allocator;
  const auto value = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
  return value ? value.get() : "";
}

// The size that a step gives an image; detectors have no others, unless their config was changed.
cv::Size resized(cv::Size size, const json& step) {
  for (const auto& [key, value] : step.items())
    if (key != "type" && key != "scale" && key != "keep_ratio" && key != "width" && key != "height")
      throw std::runtime_error("this example cannot resize images as the file asks for: " + step.dump());
  double factor;
  if (step.at("type") == "Fit") {
    factor = std::min(step.at("width").get<double>() / size.width, step.at("height").get<double>() / size.height);
  } else if (step.at("type") == "Resize") {
    auto scale = step.at("scale").get<std::array<double, 2>>();
    if (!step.value("keep_ratio", false)) return cv::Size(scale[0], scale[1]);
    std::sort(scale.begin(), scale.end());
    factor = std::min(scale[0] / std::min(size.width, size.height), scale[1] / std::max(size.width, size.height));
  } else {
    throw std::runtime_error("this example cannot resize images as the file asks for: " + step.dump());
  }
  return cv::Size(size.width * factor + 0.5, size.height * factor + 0.5);
}

// The numbers of an output, whose type and shape are checked.
template <typename T>
const T* numbers(const Ort::Value& output, const std::vector<int64_t>& shape) {
  const auto info = output.GetTensorTypeAndShapeInfo();
  if (info.GetElementType() != Ort::TypeToTensorType<T>::type || info.GetShape() != shape)
    throw std::runtime_error("the file gives other outputs than a detector of tools/export.py");
  return output.GetTensorData<T>();
}

std::vector<Object> Detector::operator()(const cv::Mat& image) {
  cv::Mat sized = image;
  for (const json& step : steps_) cv::resize(sized, sized, resized(sized.size(), step));
  const cv::Size seen = sized.size(), size = fixed_.empty() ? seen : fixed_;
  if (std::min(size.width, size.height) < kSmallestSide)
    throw std::runtime_error("FasterNet takes images of at least 32 × 32 pixels");
  if (seen.width > size.width || seen.height > size.height)
    throw std::runtime_error("the file's metadata makes an image larger than the file takes");

  // Red, green and blue, one after the other; padded on the right and below. The graph normalizes.
  cv::cvtColor(sized, sized, cv::COLOR_BGR2RGB);
  sized.convertTo(sized, CV_32F);
  cv::copyMakeBorder(sized, sized, 0, size.height - seen.height, 0, size.width - seen.width, cv::BORDER_CONSTANT,
                     cv::Scalar(pad_[0], pad_[1], pad_[2]));
  std::vector<float> pixels(3 * size.area());
  std::vector<cv::Mat> planes;
  for (int channel = 0; channel < 3; ++channel)
    planes.emplace_back(size, CV_32F, pixels.data() + channel * size.area());
  cv::split(sized, planes);

  const std::array<int64_t, 4> shape{1, 3, size.height, size.width};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input = Ort::Value::CreateTensor<float>(memory, pixels.data(), pixels.size(), shape.data(), shape.size());
  const char* inputs[] = {"image"};
  const char* outputs[] = {"boxes", "scores", "labels"};
  const auto found = session_.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 3);
  const int64_t count = found[1].GetTensorTypeAndShapeInfo().GetElementCount();
  const float* boxes = numbers<float>(found[0], {count, 4});
  const float* scores = numbers<float>(found[1], {count});
  const int64_t* labels = numbers<int64_t>(found[2], {count});

  // Back to the image as it was read; boxes in the border of a padded image are left out.
  const cv::Rect2f all(0, 0, seen.width, seen.height);
  const float across = float(image.cols) / seen.width, down = float(image.rows) / seen.height;
  std::vector<Object> objects;
  for (int64_t i = 0; i < count; ++i, boxes += 4) {
    if (labels[i] < 0 || labels[i] >= int64_t(classes_.size()))
      throw std::runtime_error("the file gives a label that its metadata does not name");
    const cv::Rect2f box = cv::Rect2f(cv::Point2f(boxes[0], boxes[1]), cv::Point2f(boxes[2], boxes[3])) & all;
    if (scores[i] < kLowestScore || (!fixed_.empty() && box.empty())) continue;
    objects.push_back({classes_[labels[i]], scores[i],
                       {box.x * across, box.y * down, box.width * across, box.height * down}});
  }
  return objects;
}

void detect(const std::string& file, const std::string& path, const std::string& drawn) {
  for (const auto& given : {file, path})
    if (!std::filesystem::is_regular_file(given)) throw std::runtime_error(given + " does not exist or is no file");
  Detector detector(file);
  cv::Mat image = cv::imread(path);  // turned upright, if its EXIF data says how
  if (image.empty()) throw std::runtime_error(path + " is no image that OpenCV can read");
  const auto objects = detector(image);
  const int line = std::max(1, (image.cols + image.rows) / 400);
  for (const auto& [name, score, box] : objects) {
    std::printf("%s %.2f at %.1f %.1f %.1f %.1f\n", name.c_str(), score, box.x, box.y, box.br().x, box.br().y);
    cv::rectangle(image, box, cv::Scalar(60, 60, 230), line);
    cv::putText(image, name, box.tl() + cv::Point2f(2 * line, 14 * line), cv::FONT_HERSHEY_SIMPLEX, 0.4 * line,
                cv::Scalar(60, 60, 230), std::max(1, line / 2));
  }
  if (!cv::haveImageWriter(drawn) || !cv::imwrite(drawn, image))
    throw std::runtime_error(drawn + " cannot be written: name a JPEG or PNG in a folder that exists");
  std::printf("%zu objects drawn in %s\n", objects.size(), drawn.c_str());
}

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s DETECTOR.onnx IMAGE DRAWN.png\n", argv[0]);
    return 2;
  }
  try {
    detect(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
