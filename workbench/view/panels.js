// The panels of an explorer: pictures with people and heat, lines over an axis, bars. Each is drawn
// by a pen, and knows what lies under the pointer. `view` gives colours, arrays, bitmaps and state.

const TITLE = 20; // px above a panel, for its title
const KEY = 16; // px below a picture, for who is who
const MARKS = { hidden: 2, newly_hidden: 3, outside: 4 }; // of a joint; 0: not drawn, 1: visible
const PATCH = "rgb(118, 122, 128)"; // of the occluder: a grey that is nobody's shirt; as in Python

// --- pictures ------------------------------------------------------------------------------------

const colourOf = (role, view) => view.tone[role] || view.levels(role);

function frameOf(panel, view) {
  return panel.at ?? view.state.frame ?? 0;
}

// One step of an array whose first axis is time, or the only one.
function stepOf(array, frame) {
  const size = array.shape.slice(1).reduce((a, b) => a * b, 1);
  const at = array.shape[0] === 1 ? 0 : Math.min(frame, array.shape[0] - 1);
  return array.values.subarray(at * size, (at + 1) * size);
}

function drawPicture(pen, panel, width, height, view) {
  const [x0, y0, x1, y1] = panel.box;
  const below = panel.people.length ? KEY : 0;
  const zoom = Math.min(width / (x1 - x0), (height - TITLE - below) / (y1 - y0));
  const [wide, high] = [zoom * (x1 - x0), zoom * (y1 - y0)];
  const left = (width - wide) / 2;
  const frame = frameOf(panel, view);
  panel.zoom = zoom;
  panel.to = (x, y) => [left + (x - x0) * zoom, TITLE + (y - y0) * zoom];
  panel.from = (x, y) => [(x - left) / zoom + x0, (y - TITLE) / zoom + y0];
  const shown = panel.frames.length === 1 ? 0 : Math.min(frame, panel.frames.length - 1);
  const bitmap = view.bitmaps[panel.frames[shown]];
  pen.inside(left, TITLE, wide, high, () => {
    pen.rect(left, TITLE, wide, high, { fill: view.tone.tint });
    if (bitmap) {
      const [a, b, c, d] = panel.whole;
      pen.picture(bitmap, ...panel.to(a, b), (c - a) * zoom, (d - b) * zoom, true);
    }
    if (panel.brush) drawStrokes(pen, panel, frame, view);
    if (panel.heat) drawHeat(pen, panel, frame, view, Boolean(bitmap));
    for (const people of panel.people) drawPeople(pen, panel, people, frame, view);
    for (const arrow of panel.arrows) drawArrows(pen, panel, arrow, view);
  });
  if (panel.rim?.includes(frame)) {
    pen.rect(left + 2, TITLE + 2, wide - 4, high - 4, { stroke: view.tone.truth, thick: 4 });
  }
  if (panel.heat) drawBar(pen, left + wide, panel.heat, view);
  drawNames(pen, panel, left, TITLE + high + KEY / 2 + 1, view);
}

// Who is who: names beside their colours, or what the joints' colours say.
function drawNames(pen, panel, x, y, view) {
  for (const { name, role, flags, says } of panel.people) {
    const marks = flags ? says.map((words, i) => [words, i + 1]) : [[name, 0]];
    for (const [words, mark] of marks) {
      if (mark) drawJoint(pen, x + 5, y, mark, 3, view.tone, view.tone.paper);
      else pen.rect(x, y - 4, 9, 8, { fill: colourOf(role, view) });
      pen.text(x + 13, y, words, { size: 10, fill: view.tone.soft });
      x += widthOf(words, 10) + 26;
    }
  }
}

// A stroke counts in its frames; one point is a square patch.
function drawStrokes(pen, panel, frame, view) {
  for (const { points, size, frames } of view.state.brush) {
    if (frame < frames[0] || frame > frames[1]) continue;
    for (const [x, y] of points) {
      const [px, py] = panel.to(x - size / 2, y - size / 2);
      pen.rect(px, py, size * panel.zoom, size * panel.zoom, { fill: PATCH });
    }
  }
}

function heatColour(heat, value, view) {
  const place = clip((2 * (value - heat.low)) / (heat.high - heat.low) - 1);
  return mix(place, heat.diverging ? view.stops : view.scale.sequential);
}

// Opaque alone; over a picture the more see-through the less there is.
function drawHeat(pen, panel, frame, view, pictured) {
  const { heat } = panel;
  const [rows, columns] = heat.values.shape.slice(1);
  const canvas = make("canvas", { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  const step = stepOf(heat.values, frame);
  const strength = view.state.opacity ?? 0.85;
  step.forEach((value, i) => {
    image.data.set(heatColour(heat, value, view), 4 * i);
    const part = (value - heat.low) / (heat.high - heat.low);
    const amount = Math.min(Math.max(heat.diverging ? Math.abs(2 * part - 1) : part, 0), 1);
    const alpha = pictured ? strength * amount ** 0.6 : 1;
    image.data[4 * i + 3] = Number.isNaN(value) ? 0 : 255 * alpha;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  const [[a, , c], [, e, f]] = heat.affine;
  const [x, y] = panel.to(c - a / 2, f - e / 2);
  pen.picture(canvas, x, y, a * columns * panel.zoom, e * rows * panel.zoom, false);
}

function drawBar(pen, right, heat, view) {
  const [steps, wide] = [24, 54];
  const words = [heat.low, heat.high].map(number);
  const look = { size: 10, fill: view.tone.soft };
  const start = right - wide - widthOf(words[1], 10) - 4;
  for (let i = 0; i < steps; i++) {
    const value = heat.low + ((i + 0.5) / steps) * (heat.high - heat.low);
    const fill = `rgb(${heatColour(heat, value, view)})`;
    pen.rect(start + (i * wide) / steps, 6, wide / steps + 0.5, 8, { fill });
  }
  pen.text(right, 10, words[1], { ...look, align: "right" });
  pen.text(start - 4, 10, words[0], { ...look, align: "right" });
}

// xy of everybody in a frame, by person: [[x, y, mark] of each joint].
function peopleAt(people, frame) {
  const [, count, joints] = people.xy.shape;
  const xy = stepOf(people.xy, frame);
  const marks = people.marks ? stepOf(people.marks, frame) : null;
  return Array.from({ length: count }, (_, p) =>
    Array.from({ length: joints }, (__, j) => {
      const at = p * joints + j;
      return [xy[2 * at], xy[2 * at + 1], Number.isNaN(xy[2 * at]) ? 0 : (marks ? marks[at] : 1)];
    }));
}

function drawJoint(pen, x, y, mark, size, colours, ring) {
  if (mark === MARKS.hidden) {
    for (const s of [-1, 1]) {
      const points = [[x - size, y - size * s], [x + size, y + size * s]];
      pen.line(points, ring, 4.5);
      pen.line(points, colours.hidden, 2.5);
    }
  } else if (mark === MARKS.newly_hidden) {
    const corners = [[0, -1], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]];
    const points = corners.map(([a, b]) => [x + 1.4 * size * a, y + 1.4 * size * b]);
    pen.line(points, ring, 4.5);
    pen.line(points, colours.newly_hidden, 2.5);
  } else if (mark === MARKS.outside) {
    const look = { fill: colours.outside, stroke: ring, thick: 1.5 };
    pen.rect(x - size, y - size, 2 * size, 2 * size, look);
  } else {
    pen.dot(x, y, size, colours.visible, ring, 1.2);
  }
}

function drawPeople(pen, panel, people, frame, view) {
  const line = colourOf(people.role, view);
  const size = people.small ? 2.5 : 4;
  const colours = { ...view.tone, visible: people.flags ? view.tone.visible : line };
  for (const joints of peopleAt(people, frame)) {
    const at = joints.map(([x, y]) => panel.to(x, y));
    for (const [a, b] of view.skeleton.edges) {
      if (!joints[a][2] || !joints[b][2]) continue;
      if (people.flags) pen.line([at[a], at[b]], "#000", 4);
      pen.line([at[a], at[b]], people.flags ? "#fff" : line, people.flags ? 1.8 : 2.2);
    }
    joints.forEach(([, , mark], j) => {
      if (!mark) return;
      const chosen = panel.click && view.isChosen(j, panel);
      if (chosen) pen.dot(...at[j], 9, "none", view.tone.ink, 1.5);
      drawJoint(pen, ...at[j], mark, size, colours, people.flags ? "#fff" : view.tone.paper);
    });
  }
}

// From x, y to x, y, with a width of its own.
function drawArrows(pen, panel, { role, ends }, view) {
  const stroke = colourOf(role, view);
  for (let i = 0; i < ends.shape[0]; i++) {
    const [x0, y0, x1, y1, thick] = ends.values.subarray(5 * i, 5 * i + 5);
    const [from, to] = [panel.to(x0, y0), panel.to(x1, y1)];
    pen.line([from, to], stroke, thick);
    const way = Math.atan2(to[1] - from[1], to[0] - from[0]);
    const back = turn => [to[0] - 6 * Math.cos(way + turn), to[1] - 6 * Math.sin(way + turn)];
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) > 3) {
      pen.line([back(0.5), to, back(-0.5)], stroke, thick);
    } else pen.dot(...to, 1 + thick, stroke, "none", 0);
  }
}

// The nearest joint, else what the heat says, and the place in px of the picture.
function underPicture(panel, x, y, view) {
  const [px, py] = panel.from(x, y);
  const frame = frameOf(panel, view);
  let best = { far: 14, words: "" };
  for (const people of panel.people) {
    peopleAt(people, frame).forEach((joints, person) => joints.forEach(([jx, jy, mark], joint) => {
      const [sx, sy] = panel.to(jx, jy);
      const far = Math.hypot(sx - x, sy - y);
      if (!mark || far >= best.far) return;
      const name = view.skeleton.joints[joint];
      const state = people.flags ? `: ${people.says[mark - 1]}` : "";
      const who = people.xy.shape[1] > 1 ? `, person ${person}` : "";
      const words = `${name}${who}, ${people.name}${state} (${jx.toFixed(1)}, ${jy.toFixed(1)}) px`;
      best = { far, words, joint };
    }));
  }
  if (best.joint === undefined && panel.heat) {
    const { values, affine: [[a, , c], [, e, f]], label } = panel.heat;
    const [rows, columns] = values.shape.slice(1);
    const [i, j] = [Math.round((py - f) / e), Math.round((px - c) / a)];
    const inside = i >= 0 && j >= 0 && i < rows && j < columns;
    const value = stepOf(values, frame)[i * columns + j];
    const at = `(${px.toFixed(0)}, ${py.toFixed(0)}) px`;
    if (inside) best.words = `${label} at ${at}: ${number(value)}`;
    if (inside) best.cell = i * columns + j;
  }
  return { ...best, place: [px, py] };
}

// --- lines and bars ------------------------------------------------------------------------------

function ticksOf(low, high, count) {
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(times => times * unit >= rough) * unit;
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) ticks.push(t);
  return ticks.map(t => Number(t.toPrecision(10)));
}

function rangeOf(panel, axis) {
  if (panel[`${axis}_range`]) return panel[`${axis}_range`];
  const all = panel.lines.flatMap(one => [...one[axis].values].filter(Number.isFinite));
  const [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const pad = axis === "y" ? 0.06 * (high - low) || 1 : 0;
  return [low - pad, high + pad || low + 1];
}

function drawLines(pen, panel, width, height, view) {
  const area = { x: 46, y: TITLE, w: width - 54, h: height - TITLE - 30 };
  const [xr, yr] = ["x", "y"].map(axis => rangeOf(panel, axis));
  const to = (x, y) => [
    area.x + ((x - xr[0]) / (xr[1] - xr[0])) * area.w,
    area.y + area.h - ((y - yr[0]) / (yr[1] - yr[0])) * area.h,
  ];
  Object.assign(panel, { area, xr, to });
  const small = { size: 10, fill: view.tone.soft };
  for (const t of ticksOf(...yr, area.h / 34)) {
    pen.line([to(xr[0], t), to(xr[1], t)], view.tone.line, 1);
    pen.text(area.x - 5, to(0, t)[1], number(t), { ...small, align: "right" });
  }
  for (const t of ticksOf(...xr, area.w / 70)) {
    pen.text(to(t, 0)[0], area.y + area.h + 9, number(t), { ...small, align: "center" });
  }
  pen.text(area.x + area.w / 2, height - 8, panel.x, { ...small, align: "center" });
  pen.text(8, area.y + area.h / 2, panel.y, { ...small, align: "center", turn: -90 });
  pen.inside(area.x, area.y, area.w, area.h, () => {
    for (const [first, last, role] of [...panel.shaded, ...spanOf(panel, view)]) {
      const [a, b] = [to(first - 0.5, 0)[0], to(last + 0.5, 0)[0]];
      pen.rect(a, area.y, b - a, area.h, { fill: `${colourOf(role, view)}33` });
    }
    panel.lines.forEach((one, i) => drawSeries(pen, one, to, colourOf(one.role ?? i, view)));
    if (!panel.cursor) return;
    const at = to(view.state[panel.cursor], 0)[0];
    pen.line([[at, area.y], [at, area.y + area.h]], view.tone.ink, 1, [4, 3]);
  });
  drawKey(pen, panel, area, view);
}

function spanOf(panel, view) {
  const span = view.state[panel.span] || [];
  return span.length ? [[...span, "newly_hidden"]] : [];
}

function drawSeries(pen, { x, y, look, dash }, to, stroke) {
  let run = [];
  for (let i = 0; i <= x.values.length; i++) {
    if (i < x.values.length && Number.isFinite(y.values[i])) {
      run.push(to(x.values[i], y.values[i]));
      continue;
    }
    if (run.length > 1 && look !== "dots") pen.line(run, stroke, 2, dash || []);
    if (look !== "line" || run.length === 1) run.forEach(p => pen.dot(...p, 3, stroke, "none", 0));
    run = [];
  }
}

// Names of the lines, from the right end of the title's line.
function drawKey(pen, panel, area, view) {
  let right = area.x + area.w;
  const named = panel.lines.map((one, i) => [one.name, colourOf(one.role ?? i, view)]).reverse();
  for (const [name, fill] of named) {
    if (!name || right - widthOf(name, 10) < area.x + 70) continue;
    pen.text(right, 10, name, { size: 10, align: "right", fill: view.tone.soft });
    right -= widthOf(name, 10) + 12;
    pen.rect(right, 6, 9, 8, { fill });
    right -= 8;
  }
}

function underLines(panel, x, y) {
  const { area, xr } = panel;
  const at = xr[0] + ((x - area.x) / area.w) * (xr[1] - xr[0]);
  let best = { far: Infinity, words: "" };
  for (const { name, x: xs, y: ys } of panel.lines) {
    xs.values.forEach((value, i) => {
      const [px, py] = panel.to(value, ys.values[i]);
      const far = Math.hypot(px - x, (py - y) / 3);
      const words = `${name}, ${number(value)}: ${number(ys.values[i])}`;
      if (far < best.far) best = { far, words };
    });
  }
  return { words: best.words, along: at };
}

function drawBars(pen, panel, width, height, view) {
  const names = Math.min(Math.max(...panel.bars.map(bar => widthOf(bar.label, 11))) + 8, width / 2);
  const values = panel.bars.map(bar => bar.value).filter(Number.isFinite);
  const [low, high] = panel.range || [Math.min(0, ...values), Math.max(0, ...values, 1e-9)];
  const numbers = 46;
  const left = names + (low < 0 ? numbers : 0);
  const wide = width - left - numbers;
  const to = value => left + ((value - low) / (high - low)) * wide;
  const step = Math.min((height - TITLE - 4) / panel.bars.length, 26);
  Object.assign(panel, { step });
  panel.bars.forEach(({ label, value, role, mark }, i) => {
    const y = TITLE + (i + 0.5) * step;
    const chosen = panel.click ? view.isChosen(i, panel) : view.state.joint === label;
    const fill = colourOf(role, view);
    const words = mark ? `${mark} ${label}` : label;
    pen.text(names - 6, y, words, { align: "right", fill: view.tone.ink, bold: chosen });
    if (!Number.isFinite(value)) return;
    const [a, b] = [Math.min(to(0), to(value)), Math.max(to(0), to(value))];
    pen.rect(a, y - 0.36 * step, Math.max(b - a, 1), 0.72 * step, { fill });
    const sign = low < 0 && value > 0 ? "+" : "";
    const look = { size: 10.5, fill: view.tone.soft, align: value < 0 ? "right" : "left" };
    pen.text(value < 0 ? a - 4 : b + 4, y, `${sign}${number(value)}`, look);
  });
  pen.line([[to(0), TITLE], [to(0), TITLE + step * panel.bars.length]], view.tone.line, 1);
}

function underBars(panel, x, y) {
  const i = Math.floor((y - TITLE) / panel.step);
  const bar = panel.bars[i];
  if (!bar) return { words: "" };
  return { words: `${bar.label}: ${number(bar.value)} ${panel.unit}`, joint: i };
}

const PANELS = {
  picture: [drawPicture, underPicture],
  lines: [drawLines, underLines],
  bars: [drawBars, underBars],
};

function drawPanel(pen, panel, width, height, view) {
  PANELS[panel.kind][0](pen, panel, width, height, view);
  pen.text(2, 10, panel.title, { size: 11.5, bold: true, fill: view.tone.ink });
}

// Rows of [panel, name, where, x, y] of what is shown now.
function numbersOf(panel, view) {
  const rows = [];
  const frame = frameOf(panel, view);
  const add = (...cells) => rows.push([panel.title, ...cells]);
  for (const people of panel.people || []) {
    peopleAt(people, frame).forEach((joints, person) => joints.forEach(([x, y, mark], j) => {
      if (mark) add(people.name, `${view.skeleton.joints[j]} ${person}`, x, y);
    }));
  }
  if (panel.heat) {
    const columns = panel.heat.values.shape[2];
    stepOf(panel.heat.values, frame).forEach((value, i) =>
      add(panel.heat.label, `row ${Math.floor(i / columns)} column ${i % columns}`, "", value));
  }
  for (const { name, x, y } of panel.lines || []) {
    x.values.forEach((v, i) => add(name, i, v, y.values[i]));
  }
  for (const { label, value } of panel.bars || []) add(panel.unit, label, "", value);
  return rows;
}
