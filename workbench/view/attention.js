// All attention maps of one forward pass as thumbnails, one enlarged, and beside it who looks at
// whom: a room of an explorer, whose pens, colours and lines it uses. Hovering asks no kernel.

const ORDERS = [
  ["model", "as in the model"],
  ["entropy", "most even first"],
  ["bones", "most like the bones"],
  ["change", "most changed"],
];
const FOLDS = [["none", "joint and flow"], ["joint", "joints"], ["flow", "flows"]];
const KEYS = "Arrows: row and head. Enter: hide. K: knock out. I: in or out.";
const ARC_PX = 18; // width of an arc that carries all of the weight
const LABEL = { size: 10.5 };
const LONGEST_PX = 110; // of a label

// The list with an item more, or less where it has it; numbers stay in order.
function toggled(list, item) {
  const left = list.filter(other => `${other}` !== `${item}`);
  return left.length < list.length ? left : [...list, item].sort((a, b) => a - b);
}

// --- drawings ------------------------------------------------------------------------------------

// Names of the tokens along one side; at(i): where that of a token ends or has its middle.
function drawLabels(pen, axis, { maps, tone }, { chosen, size, at, ...look }) {
  const every = Math.ceil(13 / size);
  axis.labels.forEach((label, i) => {
    const near = chosen !== null && Math.abs(i - chosen) < every;
    if (i !== chosen && (i % every || near)) return;
    const crossed = maps.crosses(axis, i);
    const fill = crossed ? tone.hidden : i === chosen ? tone.ink : tone.soft;
    const words = cut(label, LONGEST_PX, LABEL.size);
    pen.text(...at(i), crossed ? `✕ ${words}` : words,
      { ...LABEL, ...look, fill, bold: crossed || i === chosen });
  });
}

const spaceOf = labels =>
  Math.min(Math.max(...labels.map(label => widthOf(`✕ ${label}`, LABEL.size))), LONGEST_PX + 14);

function drawMap(pen, panel, width, height, view) {
  const { maps, tone } = view;
  const { focus, inward, answer } = maps;
  const { rows, columns, query, key } = maps.shown;
  const x = spaceOf(query.labels) + 26;
  const turn = spaceOf(key.labels) > 26 ? -60 : 0;
  const below = turn ? spaceOf(key.labels) * 0.87 + 12 : 18;
  let across = (width - x - 10) / columns;
  const down = Math.min((height - 92 - below) / rows, 2 * across);
  across = Math.min(across, 2 * down);
  const [y, w, h] = [26, across * columns, down * rows];
  Object.assign(panel, { x, y, across, down, title: maps.title() });
  pen.picture(maps.enlarged, x, y, w, h, false);
  pen.rect(x, y, w, h, { stroke: tone.line });
  const row = [x, y + focus * down, w, down];
  const column = [x + focus * across, y, across, h];
  const [a, b, c, d] = inward ? column : row;
  pen.rect(a - 1, b - 1, c + 2, d + 2, { stroke: tone.ink, thick: 2 });
  const [asks, answers] = inward ? [answer, focus] : [focus, answer];
  const left = i => [x - 6, y + (i + 0.5) * down];
  const under = i => [x + (i + 0.5) * across, y + h + (turn ? 7 : 10)];
  drawLabels(pen, query, view, { chosen: asks, size: down, at: left, align: "right" });
  const align = turn ? "right" : "center";
  drawLabels(pen, key, view, { chosen: answers, size: across, at: under, align, turn });
  const soft = { align: "center", fill: tone.soft };
  pen.text(9, y + h / 2, `asks: ${query.kind}`, { ...soft, turn: -90 });
  pen.text(x + w / 2, y + h + below + 8, `answers: ${key.kind}`, soft);
  drawLegend(pen, x, y + h + below + 24, Math.min(w, 300), view);
}

function drawLegend(pen, x, y, width, { maps, tone, scale, stops }) {
  pen.ramp(x, y, width, 10, place => mix(place, stops));
  const ticks = scale[maps.kind === "difference" ? "difference_ticks" : "ticks"];
  ticks.forEach((words, i) => {
    const align = ["left", "center", "center", "center", "right"][i];
    pen.text(x + (i * width) / 4, y + 19, words, { size: 10, align, fill: tone.soft });
  });
  pen.text(x, y + 33, maps.unit, { size: 10, fill: tone.soft });
}

function underMap({ x, y, across, down }, px, py, { maps }) {
  const [row, column] = [Math.floor((py - y) / down), Math.floor((px - x) / across)];
  const { rows, columns, query, key, values } = maps.shown;
  if (row < 0 || column < 0 || row >= rows || column >= columns) return {};
  const value = inWords(values[row * columns + column], maps.kind);
  return { row, column, words: `${nameOf(query, row)} looks at ${nameOf(key, column)}: ${value}` };
}

function drawSide(pen, panel, width, height, view) {
  pen.rect(0, 0, width, height, { fill: view.tone.tint });
  (view.maps.bodily ? drawBody : drawCells)(pen, panel, width, height, view);
}

// Joints on their picture, or alone, with an arc to each that gets much.
function drawBody(pen, panel, width, height, { maps, tone }) {
  const { body: { xy, edges, joints }, picture, joint, jointValues: values, arcsOn } = maps;
  const pad = picture ? 0 : 30;
  const ends = end => [0, 1].map(k => end(...xy.map(p => p[k])));
  const [[x0, y0], [x1, y1]] = [ends(Math.min), ends(Math.max)];
  const box = picture ? [-0.5, -0.5, picture.width - 0.5, picture.height - 0.5]
    : [x0, y0, Math.max(x1, x0 + 1e-6), Math.max(y1, y0 + 1e-6)];
  const { area, to } = fitted(box, pad, pad, width - 2 * pad, height - 2 * pad);
  if (picture) pen.picture(picture, ...area, true);
  const at = (panel.points = xy.map(p => to(...p)));
  for (const [a, b] of edges) pen.line([at[a], at[b]], tone.line, 5);
  for (const [j, value] of arcsOn ? values.entries() : []) {
    const thick = maps.arcWidth(value);
    if (thick < 0.3 || j === joint) continue;
    const way = maps.inward ? [at[j], at[joint]] : [at[joint], at[j]];
    if (picture) pen.arc(...way, tone.paper, thick + 2);
    pen.arc(...way, maps.arcColour(value), thick);
  }
  at.forEach((p, j) => {
    const own = j === joint;
    pen.dot(...p, 6, { fill: maps.fillOf(values[j]), stroke: own ? tone.ink : tone.soft });
    if (arcsOn && own) pen.dot(...p, 9, { stroke: tone.ink, thick: 2 });
    if (maps.hidden.includes(j)) pen.cross(...p, 6, tone.hidden);
  });
  const names = maps.unfolded ? [] : maps.strongest.map((j, rank) => [j, String(rank + 1)]);
  if (arcsOn) names.push([joint, joints[joint]]);
  for (const [j, words] of names) {
    if (arcsOn && j === joint && words !== joints[j]) continue;
    const wide = widthOf(words, 12, true);
    const x = at[j][0] + (at[j][0] + 16 + wide < width ? 11 : -11 - wide);
    const y = at[j][1] - 10;
    if (picture) pen.rect(x - 2, y - 8, wide + 4, 16, { fill: tone.paper });
    pen.text(x, y, words, { size: 12, bold: true, fill: tone.ink });
  }
}

// Where the cell of a token lies: [column, row]. Tokens that have no place on the picture stand in
// a row above it.
function cellOf({ ahead }, across, i) {
  return i < ahead ? [i, -1] : [(i - ahead) % across, Math.floor((i - ahead) / across)];
}

function drawCells(pen, panel, width, height, { maps, tone, scale }) {
  const { row, kind, answering: axis } = maps;
  const above = axis.ahead ? 1 : 0;
  const wide = Math.ceil(Math.sqrt((row.length * width) / height));
  const [down, across] = axis.grid || [Math.ceil(row.length / wide), wide];
  const size = Math.min((width - 24) / across, (height - 24) / (down + above), 48);
  const x = (width - size * across) / 2;
  const y = (height - size * (down + above)) / 2 + above * size;
  Object.assign(panel, { x, y, size, across });
  const picture = axis.grid && maps.picture;
  if (picture) pen.picture(picture, x, y, size * across, size * down, true);
  row.forEach((value, i) => {
    const [column, line] = cellOf(axis, across, i);
    const [left, top] = [x + column * size, y + line * size];
    const middle = [left + size / 2, top + size / 2];
    const alpha = 0.15 + 0.5 * Math.abs(placeOf(value, kind, scale) || 0);
    const look = picture ? { alpha } : { stroke: tone.tint };
    pen.rect(left, top, size, size, { fill: maps.fillOf(value), ...look });
    const rank = maps.strongest.indexOf(i) + 1;
    if (rank && size >= 9) {
      if (picture) pen.dot(...middle, 8, { fill: tone.paper });
      const fill = picture ? tone.ink : maps.inkOn(value);
      pen.text(...middle, String(rank), { align: "center", bold: true, fill });
    }
    if (maps.crosses(axis, i)) pen.cross(...middle, size / 2 - 3, tone.hidden, 2);
  });
  if (!maps.same) return;
  const [column, line] = cellOf(axis, across, maps.focus);
  pen.rect(x + column * size, y + line * size, size, size, { stroke: tone.ink, thick: 2.5 });
}

// The joint, else the token, under the pointer.
function underSide(panel, px, py, { maps }) {
  const { bodily, answering, row, body, jointValues } = maps;
  let place = -1;
  if (bodily) {
    const far = panel.points.map(([x, y]) => Math.hypot(x - px, y - py));
    place = far.findIndex(d => d < 22 && d === Math.min(...far));
  } else {
    const column = Math.floor((px - panel.x) / panel.size);
    const line = Math.floor((py - panel.y) / panel.size);
    place = row.findIndex((_, i) => `${cellOf(answering, panel.across, i)}` === `${[column, line]}`);
  }
  if (place < 0) return {};
  const label = bodily ? body.joints[place] : nameOf(answering, place);
  const value = (bodily ? jointValues : row)[place];
  const words = maps.same ? label : `${label}: ${inWords(value, maps.kind)}`;
  return { joint: place, words };
}

// --- the room ------------------------------------------------------------------------------------

class Maps {
  constructor(model, host) {
    Object.assign(this, { model, host, pin: null, answer: null, stale: true });
    this.build();
    this.read();
    this.apply(model.get("choice"));
    const own = ["maps", "names", "data", "other_data", "body", "hidden", "knocked_out"];
    host.watch(model, own, () => this.read());
    host.watch(model, ["choice"], () => this.apply(model.get("choice")));
    host.watch(model, ["picture"], () => this.loadPicture());
    this.loadPicture();
  }

  build() {
    for (const name of ["show", "order", "fold"]) {
      this[name] = make("select", { name, onchange: () => this.chose() });
    }
    const [show, order, fold] = [["show", "show"], ["heads", "order"], ["tokens", "fold"]]
      .map(([words, name]) => make("label", {}, words, this[name]));
    this.folds = fold;
    this.way = button("", () => this.turn());
    this.pinned = button("", () => this.pinNow(), "keep these maps for comparison");
    const brief = this.model.get("brief");
    this.sight = brief ? [show, this.pinned] : [show, order, this.way, this.pinned];
    this.rare = [...(brief ? [order, this.way] : []), fold, make("small", { textContent: KEYS })];
    for (const piece of [...this.sight, ...this.rare]) piece.classList.add("of-maps");
    this.heads = make("div", { className: "heads" });
    this.asks = make("p", { className: "asks" });
    this.five = make("ol", {});
    const key = () => this.keys();
    this.panels = [
      { kind: "map", title: "", keys: key, over: at => this.overMap(at) },
      { kind: "side", title: "", keys: key, over: at => this.overSide(at) },
    ];
    this.panels[1].press = ({ joint }) => {
      if (joint >= 0 && this.same && this.hides(this.answering)) this.hide(joint);
    };
    const [map, side] = (this.canvases = this.panels.map(panel => this.host.canvas(panel)));
    map.className = "map";
    side.className = "side";
    map.setAttribute("aria-label", "attention map; arrows: row and head");
    const right = make("div", { className: "right" }, side, this.asks, this.five);
    this.root = make("div", { className: "main" }, this.heads, map, right);
  }

  // What Python sent.
  read() {
    const get = name => this.model.get(name);
    Object.assign(this, { names: get("names"), body: get("body"), hidden: get("hidden") });
    const layout = JSON.stringify(get("maps"));
    this.main = readHeads(get("maps"), get("data"));
    this.other = get("other_data").byteLength ? readHeads(get("maps"), get("other_data")) : null;
    if (layout !== this.layout) {
      Object.assign(this, { layout, pin: null, index: 0 });
      this.cells = this.main.map((_, i) => this.cell(i));
    }
    this.refresh();
  }

  cell(i) {
    const thumb = button("", () => this.select(i), this.nameOf(i));
    thumb.className = "thumb";
    const cross = button("✕", () => this.knock(i), `knock out ${this.nameOf(i)}`);
    cross.className = "knock";
    return make("div", { className: "cell" }, thumb, cross);
  }

  nameOf(i) {
    const { name, layer, head, lone } = this.main[i];
    return `${name}${lone ? "" : `, layer ${layer + 1}`}, head ${head + 1}`;
  }

  fillOptions() {
    const [main, other] = this.names;
    const reference = this.pin ? "A" : other;
    const compares = this.pin || this.other;
    const shows = [["main", main], this.other && ["other", other], this.pin && ["pin", "A (pinned)"]];
    if (compares) shows.push(["difference", `${main} − ${reference}`]);
    if (compares) shows.push(["ratio", `${main} : ${reference}`]);
    const bony = this.body.edges.length && this.main[0].key.kind === "joint";
    const able = { model: true, entropy: true, bones: bony, change: compares };
    offer(this.show, shows.filter(Boolean));
    offer(this.order, ORDERS.filter(([name]) => able[name]));
    offer(this.fold, FOLDS);
    this.folds.hidden = !this.main.some(head => head.key.flows.length);
  }

  apply(choice) {
    if (JSON.stringify(choice) === JSON.stringify(this.choice())) return;
    this.index = Math.max(this.main.findIndex(head => `${placeIn(head)}` === `${choice.head}`), 0);
    for (const part of ["show", "order", "fold"]) {
      const known = [...this[part].options].some(option => option.value === choice[part]);
      if (known) this[part].value = choice[part];
    }
    this.inward = choice.direction === "in";
    this.focus = choice.focus;
    this.refresh();
  }

  choice() {
    const show = this.pin ? "main" : this.show.value; // what is pinned stays in this page
    const [order, fold] = [this.order.value, this.fold.value];
    const [head, direction] = [placeIn(this.main[this.index]), this.inward ? "in" : "out"];
    return { head, show, order, fold, direction, focus: this.focus };
  }

  state() {
    const [out, hidden] = [this.model.get("knocked_out"), this.model.get("hidden")];
    return { ...this.choice(), knocked_out: out, hidden };
  }

  chose() {
    this.refresh();
    this.model.set("choice", this.choice());
    this.model.save_changes();
  }

  async loadPicture() {
    const bytes = this.model.get("picture");
    this.picture = bytes.byteLength ? await createImageBitmap(new Blob([bytes])) : null;
    this.host.soon();
  }

  // --- what is shown

  // Whether one hides this axis' tokens, or their joints.
  hides(axis) {
    const { query } = this.main[0];
    return axis.flows.length > 0 || axis.kind === (query.flows.length ? "joint" : query.kind);
  }

  crosses(axis, i) {
    return this.hides(axis) && this.hidden.includes(Math.floor(i / (axis.flows.length || 1)));
  }

  rgb(value) {
    const place = placeOf(value, this.kind, this.host.scale);
    return Number.isNaN(place) ? this.host.none : mix(place, this.host.stops);
  }

  fillOf(value) {
    return `rgb(${this.rgb(value)})`;
  }

  inkOn(value) {
    const [r, g, b] = this.rgb(value);
    return 0.3 * r + 0.59 * g + 0.11 * b > 130 ? "#111" : "#fff";
  }

  arcWidth(value) {
    if (Number.isNaN(value)) return 0;
    if (this.kind === "ratio") return Math.min(1.5 * Math.abs(Math.log2(value)), 6);
    const keys = this.unfolded ? this.body.joints.length : this.shown.columns;
    return Math.min((ARC_PX * Math.abs(value)) / keys, ARC_PX);
  }

  arcColour(value) {
    const { tone, scale, stops } = this.host;
    if (this.kind === "times") return tone.ink;
    return `rgb(${mix(placeOf(value, this.kind, scale) > 0 ? 0.75 : -0.75, stops)})`;
  }

  title() {
    return `${this.nameOf(this.index)} · ${this.show.selectedOptions[0].textContent}`;
  }

  headAs(i) {
    const fold = this.fold.value;
    const sources = { other: this.other, pin: this.pin };
    const head = folded((sources[this.show.value] || this.main)[i], fold);
    if (this.kind === "times") return head;
    return compared(head, folded((this.pin || this.other)[i], fold), this.kind);
  }

  // Everything is drawn anew: thumbnails at once where one sees them, the rest with the next frame.
  refresh() {
    this.fillOptions();
    const shows = this.show.value;
    this.kind = shows === "difference" || shows === "ratio" ? shows : "times";
    const reference = this.pin ? "A (pinned)" : this.names[1];
    const sign = this.kind === "ratio" ? ":" : "−";
    const against = `${this.names[0]} ${sign} ${reference}, times uniform`;
    this.unit = this.kind === "times" ? "times uniform" : against;
    this.way.textContent = this.inward ? "arrows: in" : "arrows: out";
    this.way.title = this.inward ? "who looks at it (a column)" : "whom it looks at (a row)";
    this.pinned.textContent = this.pin ? "unpin A" : "pin A";
    this.stale = true;
    if (this.root.offsetParent && this.host.readTheme()) this.drawHeads();
    this.host.soon();
  }

  drawHeads() {
    const reference = this.pin || this.other;
    const measure = {
      entropy: i => entropy(this.main[i]),
      bones: i => likeness(this.main[i], this.body.edges),
      change: i => moved(this.main[i], reference[i]),
    }[this.order.value];
    const score = measure && this.main.map((_, i) => measure(i));
    this.sequence = [...this.main.keys()];
    if (score) this.sequence.sort((a, b) => score[b] - score[a]);
    const out = this.model.get("knocked_out").map(String);
    const pieces = this.sequence.flatMap(i => {
      const { name, layer, head, lone } = this.main[i];
      const { columns, rows, values } = this.headAs(i);
      const [thumb, cross] = this.cells[i].children;
      const short = lone ? `${head + 1}` : `${layer + 1}·${head + 1}`;
      const note = score ? `${short}  ${score[i].toFixed(2)}` : short;
      const picture = bitmap(values, columns, rows, value => this.rgb(value));
      thumb.replaceChildren(picture, make("span", { textContent: note }));
      thumb.setAttribute("aria-pressed", i === this.index);
      const gone = out.includes(String(placeIn(this.main[i])));
      this.cells[i].classList.toggle("out", gone);
      cross.setAttribute("aria-pressed", gone);
      const first = !score && head === 0;
      this.cells[i].style.gridColumnStart = first ? 1 : "auto";
      const textContent = `${name}: ${lone ? "" : "layer · "}head`;
      const heading = make("div", { className: "name", textContent, title: name });
      return first && layer === 0 ? [heading, this.cells[i]] : [this.cells[i]];
    });
    const columns = Math.max(3, ...this.main.map(({ head }) => head + 1));
    this.heads.style.setProperty("--columns", columns);
    const focused = document.activeElement;
    this.heads.replaceChildren(...pieces);
    if (this.heads.contains(focused)) focused.focus({ preventScroll: true });
    this.stale = false;
  }

  prepare() {
    if (this.stale) this.drawHeads();
    this.shown = this.headAs(this.index);
    this.enlarged = this.cells[this.index].querySelector("canvas");
    const { query, key } = this.shown;
    [this.asking, this.answering] = this.inward ? [key, query] : [query, key];
    const { kind, flows } = this.answering;
    this.focus = Math.min(this.focus ?? 0, this.asking.labels.length - 1);
    this.same = query.kind === key.kind && `${query.labels}` === `${key.labels}`;
    this.row = rowOf(this.shown, this.focus, this.inward);
    const places = [...this.row.keys()];
    places.sort((a, b) => strength(this.row[b], this.kind) - strength(this.row[a], this.kind));
    this.strongest = places.slice(0, 5);
    this.unfolded = flows.length > 0;
    this.bodily = (kind === "joint" || this.unfolded) && this.body.xy.length > 0;
    this.arcsOn = this.bodily && this.same;
    this.joint = Math.floor(this.focus / (this.asking.flows.length || 1));
    const [n, row] = [flows.length, this.row];
    this.jointValues = this.unfolded
      ? Float32Array.from(this.body.joints, (_, j) => mean(row.subarray(j * n, (j + 1) * n)))
      : row;
    this.list();
    this.host.focused(this.asking, this.focus);
  }

  list() {
    const asker = nameOf(this.asking, this.focus);
    const than = { times: "", difference: ": more or less", ratio: ": how many times as much" };
    const words = this.inward ? `Who looks at ${asker}` : `${asker} looks at`;
    this.asks.textContent = words + than[this.kind];
    const weights = this.kind === "times" && !this.inward;
    this.five.replaceChildren(...this.strongest.map(i => {
      const value = this.row[i];
      const share = weights && value >= 0 ? ` (${(value / known(this.row)).toFixed(3)})` : "";
      const amount = make("b", { textContent: inWords(value, this.kind) + share });
      return make("li", {}, make("span", { textContent: nameOf(this.answering, i) }), amount);
    }));
  }

  // --- pointer and keys

  overMap({ row, column }) {
    if (row === undefined) return;
    [this.focus, this.answer] = this.inward ? [column, row] : [row, column];
    this.host.soon();
  }

  overSide({ joint }) {
    if (joint === undefined) return;
    const token = this.unfolded ? joint * this.answering.flows.length : joint;
    this[this.same ? "focus" : "answer"] = token;
    this.host.soon();
  }

  keys() {
    const count = this.asking.labels.length;
    const at = this.sequence.indexOf(this.index) + this.sequence.length;
    const row = step => {
      Object.assign(this, { focus: (this.focus + step + count) % count, answer: null });
      this.chose();
    };
    return {
      ArrowUp: () => row(-1),
      ArrowDown: () => row(1),
      ArrowLeft: () => this.select(this.sequence[(at - 1) % this.sequence.length]),
      ArrowRight: () => this.select(this.sequence[(at + 1) % this.sequence.length]),
      Enter: () => this.hides(this.asking) && this.hide(this.joint),
      k: () => this.knock(this.index),
      i: () => this.turn(),
    };
  }

  select(index) {
    this.index = index;
    this.chose();
  }

  turn() {
    Object.assign(this, { inward: !this.inward, answer: null });
    this.chose();
  }

  pinNow() {
    const shows = this.show.value === "other" ? this.other : this.main;
    this.pin = this.pin ? null : shows;
    this.host.tell(this.pin ? "A is kept: choose a difference, or change something." : "");
    this.refresh();
  }

  // The frame that the scrubber shows, where frames ask.
  lookAt(frame) {
    const { kind, labels } = this.main[0].query;
    if (kind !== "frame") return;
    const far = labels.map(label => Math.abs(Number(label) - frame));
    this.focus = far.indexOf(Math.min(...far));
  }

  // --- what a kernel answers

  hide(place) {
    this.host.askFor(this.model, "hidden", toggled(this.model.get("hidden"), place));
  }

  knock(index) {
    const out = toggled(this.model.get("knocked_out"), placeIn(this.main[index]));
    this.host.askFor(this.model, "knocked_out", out);
  }
}

const placeIn = ({ name, layer, head }) => [name, layer, head];
