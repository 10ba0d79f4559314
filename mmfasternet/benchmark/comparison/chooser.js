// The chooser: tools/choose.py's answer, for the latencies on this page.
{
  const NEAR = 0.5;
  const [latency, task, params, slider, shown, answer, drawing] = ['latency', 'task', 'params', 'budget', 'ms', 'answer', 'plot']
    .map(id => document.getElementById(`choose-${id}`));
  // The latencies to choose by: of a machine in a setting, or published.
  const BY = [
    ...data.groups.map(({title}) => ({title, of: row => row.latencies.find(found => found.title === title)})),
    ...data.rows.some(row => row.published?.latency_ms) ? [{
      title: 'Published: RTX 2080 Ti',
      of: ({published}) => published?.latency_ms && {median_ms: published.latency_ms, quartiles_ms: [published.latency_ms, published.latency_ms], flags: []},
    }] : [],
  ];
  const paramsOf = row => scaled(countOf(row)?.trainable, 1e6) ?? row.published?.params_m ?? null;
  const limitsOf = ({found}) => found.interval_ms ?? found.quartiles_ms;

  // What may be chosen, by rising latency.
  function candidates() {
    const {of} = BY[latency.value], most = Number(params.value) || Infinity;
    return shownRows().flatMap(row => {
      const [found, ap] = [of(row), apOf(row)?.[`${task.value}_ap`]];
      const fits = most === Infinity || (paramsOf(row) !== null && paramsOf(row) <= most);
      return found && typeof ap === 'number' && fits ? [{row, found, x: found.median_ms, y: ap}] : [];
    }).sort((a, b) => a.x - b.x);
  }

  const isTie = (a, b) => Math.abs(a.x - b.x) <= 0.05 * Math.max(a.x, b.x)
    || (limitsOf(a)[0] <= limitsOf(b)[1] && limitsOf(b)[0] <= limitsOf(a)[1]);
  const compared = (a, b) => isTie(a, b) ? 'and a tie in latency' : `at ${fixed(a.x / b.x, 2)} of its latency`;
  const named = one => `${one.row.label} (${fixed(one.y)}, ${ms(one.x)} ms${one.found.flags.length ? ', flagged' : ''})`;
  const step = (one, choice) => `${named(one)}: ${one.y < choice.y ? '−' : '+'}${fixed(Math.abs(one.y - choice.y))} points `
    + `at ${fixed(one.x / choice.x, 2)} of the latency${isTie(one, choice) ? ', a tie in latency' : ''}`;

  function standing(all, within, choice) {
    const ours = all.filter(({row}) => row.family === 'FasterNet');
    if (!ours.length) return 'FasterNet: none has both an AP and this latency.';
    const fitting = ours.filter(one => within.includes(one));
    if (!fitting.length) return `FasterNet is not the choice: the fastest one, ${named(ours[0])}, is over budget.`;
    const best = fitting.reduce((a, b) => b.y > a.y ? b : a);
    const rival = within.find(one => one.row.family !== 'FasterNet' && one.y >= best.y - NEAR && one.x < best.x && !isTie(one, best));
    const beaten = rival && `${named(rival)} takes ${fixed(rival.x / best.x, 2)} of its time`;
    if (choice === best) return beaten ? `FasterNet is the choice by a tie in AP alone: ${named(best)}, but ${beaten}.` : `FasterNet is the choice: ${named(best)}.`;
    return beaten
      ? `FasterNet is not the choice: ${named(best)} is beaten, since ${beaten}.`
      : `FasterNet is not the choice: ${named(best)} is on the front, but ${choice.row.label} has ${fixed(choice.y - best.y)} points more, ${compared(choice, best)}.`;
  }

  function tell(all, within, best) {
    if (!all.length) return [element('p', 'No backbone has an AP and this latency.')];
    if (!within.length) return [element('p', `No backbone meets this budget: the fastest is ${named(all[0])}.`)];
    const choice = best.at(-1);
    const up = all.find(one => !within.includes(one) && one.y > choice.y);
    const down = best.findLast(one => one.y < choice.y);
    const ties = within.filter(one => one !== choice && choice.y - one.y <= NEAR);
    const lines = [standing(all, within, choice)];
    lines.push(...ties.map(one => `A tie in AP: ${named(one)}, ${compared(one, choice)}.`));
    lines.push(up ? `One step up: ${step(up, choice)}.` : 'One step up: none has a higher AP.');
    lines.push(down ? `One step down: ${step(down, choice)}.` : 'One step down: none is on the front.');
    lines.push(`Train: ${choice.row.config ?? 'no config is known'}`);
    lines.push(`Pareto front within the budget: ${best.map(named).join(', ')}.`);
    const [first, ...others] = lines.map(line => element('p', line));
    return [first, element('p', `Choose ${named(choice)}.`, {id: 'choose-choice'}), ...others];
  }

  function redraw() {
    const all = candidates();
    const [low, high] = [all[0]?.x ?? 1, all.at(-1)?.x ?? 1];
    // Its left end is faster than all, its right end slower.
    const budget = 0.9 * low * (1.1 * high / (0.9 * low)) ** (slider.value / slider.max);
    shown.textContent = `${ms(budget)} ms`;
    slider.setAttribute('aria-valuetext', shown.textContent);
    const within = all.filter(({x}) => x <= budget), best = front(within);
    answer.replaceChildren(...tell(all, within, best));
    const points = (some, name, marker) => ({
      x: some.map(({x}) => x), y: some.map(({y}) => y), name, mode: 'markers', marker,
      hoverinfo: 'text', hovertext: some.map(one => escape(named(one))),
    });
    const ys = all.map(({y}) => y), choice = best.at(-1);
    Plotly.react(drawing, [
      {...points(best, 'Pareto front within the budget', {size: 9, color: '#0072b2'}), mode: 'lines+markers', line: {shape: 'hv', color: '#0072b2', width: 1.5}},
      points(within.filter(one => !best.includes(one)), 'within the budget', {size: 9, color: '#777'}),
      points(all.filter(one => !within.includes(one)), 'over budget', {size: 9, color: '#777', symbol: 'circle-open'}),
      points(choice ? [choice] : [], 'the choice', {size: 17, symbol: 'circle-open', color: '#d55e00', line: {width: 3}}),
      {x: [budget, budget], y: [Math.min(...ys), Math.max(...ys)], mode: 'lines', name: 'the budget', line: {color: '#a30000', dash: 'dash'}, hoverinfo: 'skip'},
    ], {
      margin: {l: 55, r: 15, t: 10, b: 60}, hovermode: 'closest', font: {color: '#222'},
      xaxis: {title: {text: 'Latency (ms)', standoff: 8}, type: high > 12 * low ? 'log' : 'linear', automargin: true, gridcolor: '#e8e8e8', zeroline: false},
      yaxis: {title: {text: task.value === 'box' ? 'Box AP (%)' : 'Mask AP (%)'}, gridcolor: '#e8e8e8', zeroline: false},
      legend: {orientation: 'h', yref: 'container', y: 0, yanchor: 'bottom'},
    }, {responsive: true, displayModeBar: false});
  }

  BY.forEach(({title}, index) => latency.append(element('option', title, {value: index})));
  for (const control of [latency, task, params, slider, undistilled, ...boxes]) control?.addEventListener('input', redraw);
  redraw();
}
