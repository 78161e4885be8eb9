// The panels of an explorer: pictures with people and heat, lines over an axis, bars. Each is drawn
// by a pen, and knows what lies under the pointer. `view` gives colours, bitmaps and state.

const TITLE = 22; // px above a panel, for its title
const LINE = 16; // px of one more line there
const KEY = 18; // px below a picture, for who is who
const FINE = 16; // columns of a map from which on it lies smoothly on a picture
const [SMALL, LARGE] = [11.5, 13]; // px of letters
const [HIDDEN, NEWLY_HIDDEN, OUTSIDE] = [2, 3, 4]; // marks of a joint; 0: not drawn, 1: visible
const MARKS = ["none", "visible", "hidden", "newly_hidden", "outside"];
const PATCH = "rgb(118, 122, 128)"; // of the occluder: a grey that is nobody's shirt; as in Python

// --- pictures

// A role of `style`, or a number that picks a neutral colour.
function colourOf(role, { tone, scale }) {
  const place = ((Number(role) || 0) % 6) / 3 - 5 / 6;
  return tone[role] || `rgb(${mix(place, scale.sequential)})`;
}

const frameOf = (panel, view) => panel.at ?? view.state.frame ?? 0;

const stepOf = (list, frame) => list[Math.min(frame, list.length - 1)];

// One step of an array whose first axis is time, or the only one.
function arrayAt({ shape, values }, frame) {
  const size = values.length / shape[0];
  const at = Math.min(frame, shape[0] - 1);
  return values.subarray(at * size, (at + 1) * size);
}

function drawPicture(pen, panel, width, height, view) {
  const { tone } = view;
  const { box, whole, people, heat, brush, rim } = panel;
  const keys = keysBelow(panel, width, view);
  const { area } = fitted(box, 0, 0, width, height - panel.head - panel.foot);
  Object.assign(panel, fitted(box, 0, panel.head, width, area[3])); // right below its title
  const [left, top, wide, high] = panel.area;
  const frame = frameOf(panel, view);
  const picture = panel.picture || view.bitmaps[stepOf(panel.frames, frame)];
  pen.frame(left, top, wide, high, () => {
    const { zoom, to } = fitted(box, 0, 0, wide, high);
    const area = ([a, b, c, d]) => [...to(a, b), (c - a) * zoom, (d - b) * zoom];
    pen.rect(0, 0, wide, high, { fill: tone.tint });
    if (picture) pen.picture(picture, ...area(whole), true);
    if (brush) drawStrokes(pen, area, frame, view);
    if (panel.ghost) drawGhost(pen, panel.ghost, area, tone);
    if (heat) drawHeat(pen, heat, area, frame, view, picture);
    for (const one of people) drawPeople(pen, panel, one, to, frame, view);
    for (const arrows of panel.arrows) drawArrows(pen, arrows, to, view);
    const taken = [];
    for (const note of panel.notes || []) drawNote(pen, note, to, wide, view, taken);
    if (rim.includes(frame)) pen.rect(2, 2, wide - 4, high - 4, { stroke: tone.truth, thick: 4 });
  });
  const y = top + high + KEY / 2 + 1;
  keys.forEach((line, i) => drawNames(pen, line, left, y + i * KEY, width, view));
  if (heat?.label) drawBar(pen, left + wide, y + (keys.length - 1) * KEY, heat, view);
}

// By line who is who in a picture: [words, colour, mark].
function keysBelow({ people, heat, notes = [] }, width, view) {
  const names = people.flatMap(one => (one.flags
    ? one.says.map((words, i) => [words, view.tone[MARKS[i + 1]], i + 1])
    : [[one.name, colourOf(one.role, view)]]));
  const ringed = notes.filter(({ name }) => name);
  names.push(...ringed.map(({ name, role }) => [name, colourOf(role, view)]));
  return keyLines(names, width, heat?.label ? barWidth(heat) : 0);
}

// Px below a picture.
function footOf(panel, width, view) {
  return ["picture", "side"].includes(panel.kind) ? KEY * keysBelow(panel, width, view).length : 0;
}

// Names by line, as many as fit, and room for what stands at the end of the last one.
function keyLines(names, width, last = 0) {
  const lines = names.length || last ? [[]] : [];
  let used = 0;
  for (const one of [...names, ...(last ? [null] : [])]) {
    const needed = one ? widthOf(one[0], SMALL) + 26 : last;
    if (used + needed > width && lines.at(-1).length) {
      lines.push([]);
      used = 0;
    }
    if (one) lines.at(-1).push(one);
    used += needed;
  }
  return lines;
}

// Who is who: [words, colour, mark of a joint] from x on, or as far left as they need and may.
function drawNames(pen, names, x, y, width, { tone }) {
  let left = Math.max(0, Math.min(x, width - keyWidth(names)));
  for (const [words, fill, mark] of names) {
    const short = cut(words, width - 26, SMALL);
    if (mark) drawJoint(pen, [left + 5, y], mark, 3, fill, tone.paper);
    else if (words) pen.rect(left, y - 4, 9, 8, { fill });
    pen.text(left + 13, y, short, { size: SMALL, fill: tone.soft });
    left += widthOf(short, SMALL) + 26;
  }
}

const keyWidth = names => names.reduce((sum, [words]) => sum + widthOf(words, SMALL) + 26, 0);

// Words at a place, below those already there; a ring or dot about it, a cross through it, and a
// circle as wide as px of the box (`reach`).
function drawNote(pen, note, to, width, view, taken) {
  const { at, words, aside = 0, ring, cross, role, full, reach } = note;
  const { tone } = view;
  const [x, y] = to(...at);
  const colour = role ? colourOf(role, view) : tone.ink;
  const near = reach && to(at[0] + reach, at[1])[0] - x;
  const rings = [[ring, tone.paper, 5.5], [ring, colour, 2.5], [near, tone.paper, 3],
    [near, tone.ink, 1]].filter(([r]) => r);
  for (const [r, stroke, thick] of rings) pen.dot(x, y, r, { stroke, thick });
  if (full) pen.dot(x, y, ring, { fill: colour });
  if (cross) pen.cross(x, y, cross, tone.hidden);
  const wide = widthOf(words, 12, true);
  const left = aside && x + 16 + wide > width ? x - aside - wide : aside ? x + aside : x - wide / 2;
  const look = { size: 12, bold: true, fill: tone.ink, halo: tone.paper };
  const inside = Math.max(2, Math.min(left, width - wide - 2));
  if (!words) return;
  let row = y - 0.9 * aside;
  const meets = ([l, r, w]) => Math.abs(r - row) < 12 && l < inside + wide && inside < l + w;
  while (aside && taken.some(meets)) row += 13;
  taken.push([inside, row, wide]);
  pen.text(inside, row, words, look);
}

// A stroke counts in its frames; one point is a square patch.
function drawStrokes(pen, area, frame, view) {
  for (const { points, size, frames } of view.state.brush) {
    if (frame < frames[0] || frame > frames[1]) continue;
    const half = size / 2;
    for (const [x, y] of points) {
      pen.rect(...area([x - half, y - half, x + half, y + half]), { fill: PATCH });
    }
  }
}

function drawGhost(pen, { points: [[x, y]], size }, area, tone) {
  const half = size / 2;
  const edge = area([x - half, y - half, x + half, y + half]);
  pen.rect(...edge, { stroke: tone.paper, thick: 3 });
  pen.rect(...edge, { stroke: tone.ink, thick: 1.5, dash: [4, 3] });
}

const heatStops = (heat, { stops, scale }) => (heat.diverging ? stops : scale.sequential);

// Opaque alone; over a picture the more see-through the less there is.
function drawHeat(pen, heat, area, frame, view, picture) {
  const { low, high, diverging, values, affine: [[a, , c], [, e, f]] } = heat;
  const [rows, columns] = values.shape.slice(1);
  const veil = view.state.opacity ?? 0.85;
  const colour = value => {
    const place = clip((2 * (value - low)) / (high - low) - 1);
    const amount = diverging ? Math.abs(place) : (place + 1) / 2;
    return [...mix(place, heatStops(heat, view)), picture ? 255 * veil * amount ** 0.6 : 255];
  };
  const canvas = bitmap(arrayAt(values, frame), columns, rows, value =>
    (Number.isNaN(value) ? [0, 0, 0, 0] : (heat.colour || colour)(value)));
  const box = [c - a / 2, f - e / 2, c + a * (columns - 0.5), f + e * (rows - 0.5)];
  pen.picture(canvas, ...area(box), Boolean(picture) && !diverging && columns >= FINE);
}

const endsOf = ({ ends, low, high }) => (ends.length ? ends : [low, high].map(number));

const barWidth = heat => 74 + widthOf(endsOf(heat).join(""), SMALL);

// What the ends of a scale stand for, up to the right end.
function drawBar(pen, end, y, heat, view) {
  const look = { size: SMALL, fill: view.tone.soft, align: "right" };
  const [low, high] = endsOf(heat);
  const right = Math.max(end, barWidth(heat));
  const x = right - 58 - widthOf(high, SMALL);
  pen.ramp(x, y - 4, 54, 8, heatStops(heat, view));
  pen.text(right, y, high, look);
  pen.text(x - 4, y, low, look);
}

// By person: [x, y, mark] of each joint.
function peopleAt(people, frame) {
  const [, count, joints] = people.xy.shape;
  const xy = arrayAt(people.xy, frame);
  const marks = people.marks && arrayAt(people.marks, frame);
  const joint = at => {
    const [x, y] = xy.subarray(2 * at, 2 * at + 2);
    return [x, y, Number.isNaN(x) ? 0 : marks ? marks[at] : 1];
  };
  return Array.from({ length: count }, (_, p) =>
    Array.from({ length: joints }, (__, j) => joint(p * joints + j)));
}

// All joints of a picture that are drawn, in one list.
function jointsOf(panel, view) {
  return panel.people.flatMap(people => peopleAt(people, frameOf(panel, view)).flatMap((all, who) =>
    all.map(([x, y, mark], joint) => ({ people, who, joint, x, y, mark }))))
    .filter(({ mark }) => mark);
}

function drawJoint(pen, [x, y], mark, size, colour, ring) {
  const far = 1.4 * size;
  const diamond = `M${x} ${y - far}l${far} ${far}l${-far} ${far}l${-far} ${-far}z`;
  for (const [stroke, thick] of [[ring, 4.5], [colour, 2.5]]) {
    if (mark === HIDDEN) pen.cross(x, y, size, stroke, thick);
    if (mark === NEWLY_HIDDEN) pen.path(diamond, { stroke, thick });
  }
  const look = { fill: colour, stroke: ring, thick: 1.3 };
  if (mark === OUTSIDE) pen.rect(x - size, y - size, 2 * size, 2 * size, look);
  if (mark === 1) pen.dot(x, y, size, look);
}

// Joints have colours of their own (fills), of their marks (flags), or of who says where they are.
function drawPeople(pen, panel, people, to, frame, view) {
  const { tone, skeleton } = view;
  const { flags, fills, arcs = [], edges = skeleton.edges } = people;
  const own = colourOf(people.role, view);
  const [line, ring] = flags ? ["#fff", "#fff"] : [own, fills ? tone.soft : tone.paper];
  const size = fills ? 6 : people.small ? 2.5 : 4;
  for (const joints of peopleAt(people, frame)) {
    const at = joints.map(([x, y]) => to(x, y));
    for (const [a, b] of edges) {
      if (!joints[a][2] || !joints[b][2]) continue;
      if (flags) pen.line([at[a], at[b]], "#000", 4);
      pen.line([at[a], at[b]], line, fills ? 5 : people.small ? 1.2 : 2);
    }
    for (const [a, b, thick, colour] of arcs) {
      if (!(thick > 0.3)) continue;
      if (panel.picture) pen.arc(at[a], at[b], tone.paper, thick + 2);
      pen.arc(at[a], at[b], colour, thick);
    }
    joints.forEach(([, , mark], j) => {
      const chosen = panel.click && view.isChosen(j, panel);
      if (mark && chosen) pen.dot(...at[j], 9, { stroke: tone.ink, thick: 1.5 });
      const colour = fills?.[j] || (mark > 1 || flags ? tone[MARKS[mark]] : own);
      if (mark) drawJoint(pen, at[j], mark, size, colour, ring);
    });
  }
}

// From x, y to x, y, with a width of its own: a head where there is room, else a dot.
function drawArrows(pen, { role, ends }, to, view) {
  const stroke = colourOf(role, view);
  for (let i = 0; i < ends.values.length; i += 5) {
    const [x0, y0, x1, y1, thick] = ends.values.subarray(i, i + 5);
    const [start, end] = [to(x0, y0), to(x1, y1)];
    const [dx, dy] = end.map((v, k) => v - start[k]);
    const far = Math.hypot(dx, dy);
    const head = Math.min(5 + 1.5 * thick, 14);
    if (far < 1.5 * head) {
      pen.line([start, end], stroke, thick);
      pen.dot(...end, 1 + thick, { fill: stroke });
      continue;
    }
    const [ux, uy] = [(dx / far) * head, (dy / far) * head];
    const back = [end[0] - ux, end[1] - uy];
    const sides = [1, -1].map(way => [back[0] - (way * uy) / 2, back[1] + (way * ux) / 2]);
    pen.line([start, back], stroke, thick);
    pen.path(`M${end}L${sides[0]}L${sides[1]}z`, { fill: stroke });
  }
}

// The nearest joint, else what the heat says, and the place in px of the picture.
function underPicture(panel, x, y, view) {
  const place = panel.from(x, y);
  let found = { words: "", place };
  let nearest = 16;
  for (const { people, who, joint, x: jx, y: jy, mark } of jointsOf(panel, view)) {
    const [sx, sy] = panel.to(jx, jy);
    const far = Math.hypot(sx - x, sy - y);
    if (far >= nearest) continue;
    nearest = far;
    const state = people.flags ? `: ${people.says[mark - 1]}` : "";
    const person = people.xy.shape[1] > 1 ? `, person ${who}` : "";
    const name = `${view.skeleton.joints[joint]}${person}, ${people.name}${state}`;
    found = { words: `${name} (${jx.toFixed(1)}, ${jy.toFixed(1)}) px`, joint, place };
  }
  if (found.joint !== undefined || !panel.heat) return found;
  const { values, affine: [[a, , c], [, e, f]], label } = panel.heat;
  const [rows, columns] = values.shape.slice(1);
  const [i, j] = [Math.round((place[1] - f) / e), Math.round((place[0] - c) / a)];
  if (i < 0 || j < 0 || i >= rows || j >= columns) return found;
  const cell = i * columns + j;
  const value = number(arrayAt(values, frameOf(panel, view))[cell]);
  return { words: `${label} at (${place.map(v => v.toFixed(0))}) px: ${value}`, cell, place };
}

// --- lines and bars

function ticksOf([low, high], count) {
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(times => times * unit >= rough) * unit;
  const first = Math.ceil(low / step);
  const length = Math.floor(high / step + 1e-6) - first + 1;
  return Array.from({ length }, (_, i) => Number(((first + i) * step).toPrecision(10)));
}

function drawLines(pen, panel, width, height, view) {
  const [left, top, w, h] = [50, panel.head, width - 58, height - panel.head - 34];
  const { x_range: xr, y_range: yr } = panel;
  const toX = x => ((x - xr[0]) / (xr[1] - xr[0])) * w;
  const toY = y => h - ((y - yr[0]) / (yr[1] - yr[0])) * h;
  const from = x => xr[0] + ((x - left) / w) * (xr[1] - xr[0]);
  const up = y => yr[0] + ((top + h - y) / h) * (yr[1] - yr[0]);
  Object.assign(panel, { from, up, to: (x, y) => [left + toX(x), top + toY(y)] });
  const small = { size: SMALL, fill: view.tone.soft, align: "center" };
  const levels = ticksOf(yr, h / 34);
  const aside = { ...small, align: "right" };
  for (const t of levels) pen.text(left - 5, top + toY(t), number(t), aside);
  const whole = panel.lines.every(({ x }) => x.values.every(Number.isInteger));
  for (const t of ticksOf(xr, w / 70)) {
    if (!whole || Number.isInteger(t)) pen.text(left + toX(t), top + h + 10, number(t), small);
  }
  pen.text(left + w / 2, height - 8, panel.x, small);
  const colours = panel.lines.map((one, i) => colourOf(one.role ?? i, view));
  const names = namesOf(panel, colours);
  const beside = titleWidth(panel) + keyWidth(names) < width;
  const keys = beside ? [names] : keyLines(names, width);
  const first = beside ? 10 : 10 + LINE * titleLines(panel, width);
  keys.forEach((line, i) => drawNames(pen, line, width, first + i * LINE, width, view));
  pen.text(8, top + h / 2, panel.y, { ...small, turn: -90 });
  pen.frame(left, top, w, h, () => {
    for (const t of levels) pen.line([[0, toY(t)], [w, toY(t)]], view.tone.line, 1);
    for (const [first, last, role] of panel.shaded) {
      const [a, b] = [toX(first - 0.5), toX(last + 0.5)];
      pen.rect(a, 0, b - a, h, { fill: colourOf(role, view), alpha: 0.2 });
    }
    panel.lines.forEach((one, i) => drawSeries(pen, one, toX, toY, colours[i]));
    const now = toX(view.state[panel.cursor]);
    if (panel.cursor) pen.line([[now, 0], [now, h]], view.tone.ink, 1, [4, 3]);
  });
}

// Gaps stay gaps; a point alone is a dot.
function drawSeries(pen, { x, y, look, dash }, toX, toY, stroke) {
  let run = [];
  for (let i = 0; i <= x.values.length; i++) {
    if (Number.isFinite(y.values[i])) {
      run.push([toX(x.values[i]), toY(y.values[i])]);
      continue;
    }
    if (run.length > 1 && look !== "dots") pen.line(run, stroke, 2, dash || []);
    if (look !== "line" || run.length === 1) run.forEach(p => pen.dot(...p, 3, { fill: stroke }));
    run = [];
  }
}

function underLines(panel, x, y) {
  let best = { far: Infinity, words: "" };
  for (const { name, x: xs, y: ys } of panel.lines) {
    xs.values.forEach((value, i) => {
      const [px, py] = panel.to(value, ys.values[i]);
      const far = Math.hypot(px - x, (py - y) / 3);
      const words = `${name}, ${number(value)}: ${number(ys.values[i])}`;
      if (far < best.far) best = { far, words };
    });
  }
  return { words: best.words, x: panel.from(x), y: panel.up(y) };
}

function drawBars(pen, panel, width, height, view) {
  const { tone } = view;
  const top = panel.head;
  const step = (panel.step = Math.min((height - top - 4) / panel.bars.length, 26));
  const size = Math.min(12.5, Math.max(9, 0.8 * step));
  const widths = panel.bars.map(bar => widthOf(`${bar.mark || "✕"} ${bar.label}`, size, true));
  const longest = Math.max(...widths);
  const names = Math.min(longest + 8, width / 2);
  const values = panel.bars.flatMap(bar => [bar.value, ...(bar.ends || [])])
    .filter(Number.isFinite);
  const [low, high] = panel.range || [Math.min(0, ...values), Math.max(0, ...values, 1e-9)];
  const numbers = 52;
  const left = names + (low < 0 ? numbers : 0);
  const to = value => left + ((value - low) / (high - low)) * (width - left - numbers);
  panel.bars.forEach(({ label, value, role, mark, ends }, i) => {
    const y = top + (i + 0.5) * step;
    const bold = panel.click ? view.isChosen(i, panel) : view.state.joint === label;
    const words = cut(mark ? `${mark} ${label}` : label, names - 8, size, bold);
    pen.text(names - 6, y, words, { align: "right", fill: tone.ink, bold, size });
    if (!Number.isFinite(value)) return;
    const [a, b] = [to(0), to(value)].sort((one, other) => one - other);
    const fill = colourOf(role, view);
    pen.rect(a, y - 0.36 * step, Math.max(b - a, 1), 0.72 * step, { fill });
    const [first, last] = ends ? ends.map(to) : [a, b];
    if (ends) {
      const [up, out] = first === last ? [0.45 * step, 0] : [0, 1]; // ends that meet are a tick
      pen.line([[first - out, y - up], [last + out, y + up]], tone.paper, 5);
      pen.line([[first, y - up], [last, y + up]], tone.ink, 2);
    }
    const aside = value < 0 ? [Math.min(a, first) - 4, "right"] : [Math.max(b, last) + 4, "left"];
    const sign = (panel.signed || low < 0) && value > 0 ? "+" : "";
    const least = value && high - low > 1 && Math.abs(value) < 0.1;
    const short = least ? value.toFixed(2) : number(value);
    const look = { size: Math.min(size, SMALL), fill: tone.soft, align: aside[1] };
    pen.text(aside[0], y, sign + short, look);
  });
  const across = (x, ...look) => pen.line([[x, top], [x, top + step * panel.bars.length]], ...look);
  across(to(0), tone.line, 1);
  if (panel.limit !== null) across(to(panel.limit), tone.ink, 1.5, [4, 3]);
}

function underBars(panel, x, y) {
  const joint = Math.floor((y - panel.head) / panel.step);
  const bar = panel.bars[joint];
  if (!bar) return { words: "" };
  const value = bar.value === null ? "unknown" : `${number(bar.value)} ${panel.unit}`;
  return { words: `${bar.label}: ${value}`, joint };
}

const PANELS = {
  picture: [drawPicture, underPicture],
  lines: [drawLines, underLines],
  bars: [drawBars, underBars],
  map: [drawMap, underMap],
  side: [drawPicture, underSide],
};

const titleWidth = ({ title }) => widthOf(title, LARGE, true) + 12;

const titleLines = (panel, width) => (panel.title && titleWidth(panel) > width ? 2 : 1);

const namesOf = ({ lines }, colours = []) =>
  lines.map(({ name }, i) => [name, colours[i]]).filter(([name]) => name);

// Px that a panel can fill at most, less its head and foot.
function heightOf({ kind, box, bars }, width) {
  if (kind === "bars") return 26 * bars.length + 6;
  return kind === "picture" ? (width * (box[3] - box[1])) / (box[2] - box[0]) : Infinity;
}

// Px above a panel: its title in one line or two, and of lines the names that find no room beside.
function headOf(panel, width) {
  const head = panel.title ? TITLE + LINE * (titleLines(panel, width) - 1) : 0;
  if (panel.kind === "bars") return Math.max(head, TITLE);
  if (panel.kind !== "lines") return head;
  const names = namesOf(panel);
  if (titleWidth(panel) + keyWidth(names) < width) return TITLE;
  return Math.max(head, TITLE) + LINE * keyLines(names, width).length;
}

function drawPanel(pen, panel, width, height, view) {
  panel.drawn = true;
  PANELS[panel.kind][0](pen, panel, width, height, view);
  const look = { size: LARGE, bold: true, fill: view.tone.ink };
  const words = panel.title.split(" ");
  let first = words.length;
  while (first > 1 && widthOf(words.slice(0, first).join(" "), LARGE, true) > width - 2) first--;
  const lines = [words.slice(0, first), words.slice(first)].map(line => line.join(" "));
  lines.forEach((line, i) =>
    pen.text(2, 10 + i * LINE, cut(line, width - 2, LARGE, true), look));
}

// Rows of [panel, series, item, x, value] of what is shown now.
function numbersOf(panel, view) {
  const rows = [];
  const add = (...cells) => rows.push([panel.title, ...cells]);
  for (const { people, who, joint, x, y } of panel.people ? jointsOf(panel, view) : []) {
    add(people.name, `${view.skeleton.joints[joint]} ${who}`, x, y);
  }
  if (panel.heat) {
    const columns = panel.heat.values.shape[2];
    arrayAt(panel.heat.values, frameOf(panel, view)).forEach((value, i) =>
      add(panel.heat.label, `row ${Math.floor(i / columns)} column ${i % columns}`, "", value));
  }
  for (const { name, x, y } of panel.lines || []) {
    x.values.forEach((v, i) => add(name, i, v, y.values[i]));
  }
  for (const { label, value } of panel.bars || []) add(panel.unit, label, "", value);
  return rows;
}
