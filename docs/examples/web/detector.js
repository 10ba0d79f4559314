// A detector that tools/export.py wrote, from an image to its objects, by ONNX Runtime Web.
//
// The file's metadata says how an image is resized and padded, and what the classes are. ONNX Runtime Web does not give
// it, so that pbf reads it from the file.

import * as ort from './ort.wasm.min.mjs';
import Pbf from './pbf.js';

// More threads would need two headers (COOP and COEP) from the server. The proxy is a worker, so that the page stays
// responsive.
Object.assign(ort.env.wasm, { wasmPaths: new URL('.', import.meta.url).href, numThreads: 1, proxy: true });
ort.env.logLevel = 'fatal'; // what goes wrong is in an exception

const LOWEST_SCORE = 0.3;
const SMALLEST_SIDE = 32;
// Numbers of ModelProto's and StringStringEntryProto's fields in onnx.proto.
const METADATA = 14;
const [KEY, VALUE] = [1, 2];

export class Detector {
  /** Read the file at a URL. */
  static async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url} cannot be read: the server says ${answer.status} ${answer.statusText}`);
    const content = new Uint8Array(await answer.arrayBuffer());
    const texts = readMetadata(content);
    if (texts.part !== 'detector' || texts.task !== 'detection')
      throw new Error(`${url} holds no detector: export one by tools/export.py, without --part`);
    const session = await ort.InferenceSession.create(content).catch((error) => {
      throw new Error(`${url} cannot be run: ${error.message}`);
    });
    return new Detector(session, texts);
  }

  constructor(session, texts) {
    const [batch, , height, width] = session.inputMetadata[0].shape;
    if (batch > 1) throw new Error(`The file takes ${batch} images at a time: export it without --batch`);
    this.session = session;
    this.config = texts.config;
    try {
      this.classes = JSON.parse(texts.classes);
      this.palette = texts.palette ? JSON.parse(texts.palette) : this.classes.map((_, label) => colour(label));
      this.input = JSON.parse(texts.input);
    } catch (error) {
      throw new Error(`The file has metadata that tools/export.py does not write: ${error.message}`);
    }
    this.maskThreshold = Number(texts.mask_thr ?? 0.5);
    // Names instead of numbers stand for images of any size.
    this.fixed = typeof height === 'number' ? { width, height } : null;
  }

  /** The objects in an image (ImageData): name, colour, score, box in its pixels, and what makes a mask, or null. */
  async detect(image) {
    const seen = this.input.resize.reduce(sizeAfter, { width: image.width, height: image.height });
    const size = this.fixed ?? seen;
    if (Math.min(size.width, size.height) < SMALLEST_SIDE)
      throw new Error(`FasterNet takes images of at least ${SMALLEST_SIDE} × ${SMALLEST_SIDE} pixels`);
    if (seen.width > size.width || seen.height > size.height)
      throw new Error("The file's metadata makes an image larger than the file takes");
    const pixels = toPlanes(image, seen, size, this.input.pad ?? [0, 0, 0]);
    const feeds = { image: new ort.Tensor('float32', pixels, [1, 3, size.height, size.width]) };
    const { boxes, scores, labels, masks } = await this.session.run(feeds);
    if (!boxes || !scores || !labels) throw new Error('The file gives other outputs than a detector');

    const objects = [];
    const limits = [seen.width, seen.height, seen.width, seen.height];
    scores.data.forEach((score, i) => {
      const box = limits.map((limit, side) => Math.min(Math.max(boxes.data[4 * i + side], 0), limit));
      // The border of a padded image has boxes too.
      if (score < LOWEST_SCORE || (this.fixed && (box[2] <= box[0] || box[3] <= box[1]))) return;
      const label = Number(labels.data[i]);
      if (!(label in this.classes))
        throw new Error(`The file gives the label ${label}, which its metadata does not name`);
      objects.push({
        name: this.classes[label],
        colour: this.palette[label],
        score,
        box: box.map((at, side) => (at / limits[side]) * (side % 2 ? image.height : image.width)),
        drawMask: masks ? () => this.#drawMask(masks, i, box, seen, this.palette[label]) : null,
      });
    });
    return objects;
  }

  /** An object's pixels in its colour, in the image as the detector saw it. */
  #drawMask(masks, i, [left, top, right, bottom], seen, colour) {
    const [, height, width] = masks.dims;
    const values = masks.data.subarray(i * height * width, (i + 1) * height * width);
    const cell = (x, y) => (x >= 0 && y >= 0 && x < width && y < height ? values[y * width + x] : 0);
    // Small masks are probabilities in cells, which are stretched over the box.
    const column = (x) => ((x + 0.5 - left) / (right - left)) * width - 0.5;
    const row = (y) => ((y + 0.5 - top) / (bottom - top)) * height - 0.5;
    const covers =
      masks.type === 'bool' ? cell : (x, y) => interpolate(cell, column(x), row(y)) >= this.maskThreshold;

    const drawn = new ImageData(seen.width, seen.height);
    for (let y = Math.floor(top); y < Math.ceil(bottom); y++)
      for (let x = Math.floor(left); x < Math.ceil(right); x++)
        if (covers(x, y)) drawn.data.set([...colour, 255], 4 * (y * seen.width + x));
    return drawn;
  }
}

/** Key → text of an ONNX file's metadata. */
function readMetadata(content) {
  const readEntry = (tag, entry, pbf) => {
    entry[tag] = pbf.readString();
  };
  const readModel = (tag, texts, pbf) => {
    if (tag !== METADATA) return;
    const entry = pbf.readMessage(readEntry, {});
    texts[entry[KEY]] = entry[VALUE];
  };
  try {
    return new Pbf(content).readFields(readModel, {});
  } catch {
    return {}; // of what is no ONNX file
  }
}

/** The size that a step gives an image; detectors have no others, unless their config was changed. */
function sizeAfter({ width, height }, step) {
  const { type, scale, keep_ratio: keepsRatio, width: widest, height: highest, ...others } = step;
  const known = type === 'Fit' || (type === 'Resize' && Array.isArray(scale));
  if (!known || Object.keys(others).length)
    throw new Error(`This example cannot resize images as the file asks for: ${JSON.stringify(step)}`);
  if (type === 'Resize' && !keepsRatio) return { width: scale[0], height: scale[1] };
  const factor =
    type === 'Fit'
      ? Math.min(widest / width, highest / height)
      : Math.min(Math.max(...scale) / Math.max(width, height), Math.min(...scale) / Math.min(width, height));
  return { width: Math.floor(width * factor + 0.5), height: Math.floor(height * factor + 0.5) };
}

/** Red, then green, then blue of an image that is resized, and padded on the right and below. */
function toPlanes({ data, width, height }, seen, size, pad) {
  const area = size.width * size.height;
  const planes = new Float32Array(3 * area);
  const inside = (at, sides) => Math.min(Math.max(at, 0), sides - 1);
  for (let channel = 0; channel < 3; channel++) {
    const plane = planes.subarray(channel * area, (channel + 1) * area).fill(pad[channel]);
    const pixel = (x, y) => data[4 * (inside(y, height) * width + inside(x, width)) + channel];
    for (let y = 0; y < seen.height; y++)
      for (let x = 0; x < seen.width; x++) {
        const column = ((x + 0.5) / seen.width) * width - 0.5;
        const row = ((y + 0.5) / seen.height) * height - 0.5;
        plane[y * size.width + x] = Math.round(interpolate(pixel, column, row));
      }
  }
  return planes;
}

/** What lies between four values of a grid. */
function interpolate(value, x, y) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [across, down] = [x - left, y - top];
  const upper = value(left, top) * (1 - across) + value(left + 1, top) * across;
  const lower = value(left, top + 1) * (1 - across) + value(left + 1, top + 1) * across;
  return upper * (1 - down) + lower * down;
}

/** A colour for a class of a file that has none. */
function colour(label) {
  return [(label * 97 + 230) % 256, (label * 57 + 60) % 256, (label * 151 + 60) % 256];
}
