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

// --- drawings

const spaceOf = ({ labels }) =>
  Math.min(Math.max(...labels.map(label => widthOf(`✕ ${label}`, SMALL))), 124);

// Names of the tokens along one side; at(i): where that of a token ends or has its middle.
function drawLabels(pen, axis, { maps, tone }, { chosen, size, at, ...look }) {
  const every = Math.ceil(13 / size);
  axis.labels.forEach((label, i) => {
    const near = chosen !== null && Math.abs(i - chosen) < every;
    if (i !== chosen && (i % every || near)) return;
    const crossed = maps.crosses(axis, i);
    const fill = crossed ? tone.hidden : i === chosen ? tone.ink : tone.soft;
    const words = (crossed ? "✕ " : "") + cut(label, 110, SMALL);
    pen.text(...at(i), words, { size: SMALL, ...look, fill, bold: crossed || i === chosen });
  });
}

function drawMap(pen, panel, width, height, view) {
  const { maps, tone } = view;
  const { focus, inward, answer } = maps;
  const { rows, columns, query, key } = maps.shown;
  const x = spaceOf(query) + 26;
  const turn = spaceOf(key) > 26 ? -60 : 0;
  const below = turn ? spaceOf(key) * 0.87 + 12 : 18;
  let across = (width - x - 10) / columns;
  const title = `${maps.nameOf(maps.index)} · ${maps.shows}`;
  const y = 26 + LINE * (titleLines({ title }, width) - 1);
  const down = Math.min((height - 66 - y - below) / rows, 2 * across);
  across = Math.min(across, 2 * down);
  const [w, h] = [across * columns, down * rows];
  Object.assign(panel, { x, y, across, down, title });
  pen.picture(maps.enlarged, x, y, w, h, false);
  pen.rect(x, y, w, h, { stroke: tone.line });
  const row = [x - 1, y + focus * down - 1, w + 2, down + 2];
  const column = [x + focus * across - 1, y - 1, across + 2, h + 2];
  pen.rect(...(inward ? column : row), { stroke: tone.ink, thick: 2 });
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
  pen.ramp(x, y, width, 10, stops);
  const ticks = scale[maps.kind === "difference" ? "difference_ticks" : "ticks"];
  ticks.forEach((words, i) => {
    const align = ["left", "center", "center", "center", "right"][i];
    pen.text(x + (i * width) / 4, y + 19, words, { size: 11, align, fill: tone.soft });
  });
  const words = maps.kind === "times" ? "times uniform" : `${maps.shows}, times uniform`;
  pen.text(x, y + 34, words, { size: 11, fill: tone.soft });
}

function underMap({ x, y, across, down }, px, py, { maps }) {
  const [row, column] = [Math.floor((py - y) / down), Math.floor((px - x) / across)];
  const { rows, columns, query, key, values } = maps.shown;
  if (row < 0 || column < 0 || row >= rows || column >= columns) return {};
  const value = inWords(values[row * columns + column], maps.kind);
  return { row, column, words: `${nameOf(query, row)} looks at ${nameOf(key, column)}: ${value}` };
}

// The joint, else the token, under the pointer.
function underSide(panel, x, y, view) {
  const { maps } = view;
  const { joint, cell } = underPicture(panel, x, y, view);
  const place = maps.bodily ? joint : panel.tokens.indexOf(cell);
  if (place === undefined || place < 0) return {};
  const label = maps.bodily ? maps.body.joints[place] : nameOf(maps.answering, place);
  const value = inWords((maps.bodily ? maps.jointValues : maps.row)[place], maps.kind);
  return { joint: place, words: maps.same ? label : `${label}: ${value}` };
}

// --- the room

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
    const keys = () => this.keys();
    const press = ({ joint }) => joint >= 0 && this.presses && this.hide(joint);
    const bare = { title: "", people: [], arrows: [], frames: [], rim: [], keys };
    this.panels = [
      { ...bare, kind: "map", over: found => this.overMap(found) },
      { ...bare, kind: "side", press, over: found => this.overSide(found) },
    ];
    this.canvases = ["map", "side"].map(kind => this.host.canvas(kind));
    const [map, body] = this.canvases;
    const right = make("div", { className: "right" }, body, this.asks, this.five);
    this.root = make("div", { className: "main" }, this.heads, map, right);
  }

  // What Python sent.
  read() {
    const get = name => this.model.get(name);
    Object.assign(this, { names: get("names"), body: get("body"), hidden: get("hidden") });
    const layout = JSON.stringify(get("maps"));
    this.main = readHeads(get("maps"), get("data"));
    this.other = get("other_data").byteLength ? readHeads(get("maps"), get("other_data")) : null;
    if (layout !== this.layout) Object.assign(this, { layout, pin: null, index: 0 });
    this.refresh();
  }

  nameOf(i) {
    const { name, layer, head, lone } = this.main[i];
    return `${name}${lone ? "" : `, layer ${layer + 1}`}, head ${head + 1}`;
  }

  fillOptions() {
    const [main, other] = this.names;
    const compares = this.pin || this.other;
    const against = this.pin ? "A" : other;
    offer(this.show, [
      ["main", main],
      ["other", this.other && other],
      ["pin", this.pin && "A (pinned)"],
      ["difference", compares && `${main} − ${against}`],
      ["ratio", compares && `${main} : ${against}`],
    ]);
    const bony = this.body.edges.length && this.main[0].key.kind === "joint";
    const able = { bones: bony, change: compares };
    offer(this.order, ORDERS.map(([name, words]) => [name, (able[name] ?? true) && words]));
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
    this.picture = bytes.byteLength && await createImageBitmap(new Blob([bytes]));
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

  placeOf(value) {
    return placeOf(value, this.kind, this.host.scale);
  }

  rgb(value) {
    const place = this.placeOf(value);
    return Number.isNaN(place) ? this.host.none : mix(place, this.host.stops);
  }

  fillOf(value) {
    return `rgb(${this.rgb(value)})`;
  }

  arcWidth(value) {
    if (this.kind === "ratio") return Math.min(1.5 * Math.abs(Math.log2(value)), 6);
    const keys = this.unfolded ? this.body.joints.length : this.shown.columns;
    return Math.min((ARC_PX * Math.abs(value)) / keys, ARC_PX);
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
    this.kind = ["difference", "ratio"].includes(shows) ? shows : "times";
    this.shows = this.show.selectedOptions[0].textContent;
    this.way.textContent = this.inward ? "arrows: in" : "arrows: out";
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
      const short = lone ? `${head + 1}` : `${layer + 1}·${head + 1}`;
      const note = score ? `${short}  ${score[i].toFixed(2)}` : short;
      const thumb = button("", () => this.select(i), this.nameOf(i), "thumb", i === this.index);
      const gone = out.includes(String(placeIn(this.main[i])));
      const words = `knock out ${this.nameOf(i)}`;
      const cross = button("✕", () => this.knock(i), words, "knock", gone);
      const [own, place] = ["knocked out", placeIn(this.main[i])];
      cross.hidden = !this.host.has(own, toggled(this.host.state[own] || [], place));
      const picture = bitmap(values, columns, rows, value => this.rgb(value));
      if (i === this.index) this.enlarged = picture;
      thumb.append(picture, make("span", { textContent: note }));
      const cell = make("div", { className: `cell ${gone ? "out" : ""}` }, thumb, cross);
      const first = !score && head === 0;
      cell.style.gridColumnStart = first ? 1 : "auto";
      const textContent = `${name}: ${lone ? "" : "layer · "}head`;
      const heading = make("div", { className: "name", textContent, title: name });
      return first && layer === 0 ? [heading, cell] : [cell];
    });
    const columns = Math.max(3, ...this.main.map(({ head }) => head + 1));
    this.heads.style.setProperty("--columns", columns);
    const focused = this.heads.contains(document.activeElement);
    this.heads.replaceChildren(...pieces);
    if (focused) this.heads.querySelector(".thumb[aria-pressed=true]").focus();
    this.stale = false;
  }

  prepare() {
    if (this.stale) this.drawHeads();
    this.shown = this.headAs(this.index);
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
    this.presses = this.same && this.hides(this.answering);
    Object.assign(this.panels[1], this.bodily ? this.bodyPanel() : this.cellPanel());
    this.list();
    this.host.focused(this.asking, this.focus);
  }

  // Joints on their picture, or alone, with an arc to each that gets much.
  bodyPanel() {
    const { picture, joint, jointValues: values, inward, kind, body: { xy, edges, joints } } = this;
    const ends = end => [0, 1].map(k => end(...xy.map(p => p[k])));
    const [low, high] = [ends(Math.min), ends(Math.max)];
    const pad = 0.1 * Math.max(high[0] - low[0], high[1] - low[1], 1e-6);
    const whole = picture && [-0.5, -0.5, picture.width - 0.5, picture.height - 0.5];
    const box = whole || [...low.map(v => v - pad), ...high.map(v => v + pad)];
    const others = this.arcsOn ? [...values.keys()].filter(j => j !== joint) : [];
    const arcs = others.map(j => {
      const end = mix(this.placeOf(values[j]) > 0 ? 0.75 : -0.75, this.host.stops);
      const colour = kind === "times" ? this.host.tone.ink : `rgb(${end})`;
      return [inward ? j : joint, inward ? joint : j, this.arcWidth(values[j]), colour];
    });
    const shape = [1, 1, xy.length, 2];
    const fills = joints.map((_, j) => this.fillOf(values[j]));
    const looks = { role: "line", edges, arcs, fills, name: "" };
    const people = [{ xy: { shape, values: Float32Array.from(xy.flat()) }, ...looks }];
    const notes = joints.map((name, j) => {
      const own = this.arcsOn && j === joint;
      const rank = this.unfolded ? -1 : this.strongest.indexOf(j);
      const words = own ? name : rank < 0 ? "" : String(rank + 1);
      return { at: xy[j], words, aside: 11, ring: own && 9, cross: this.hidden.includes(j) && 6 };
    });
    return { box, whole, picture, people, notes, heat: null };
  }

  // A cell a token, on their picture where they have a grid. Tokens that have no place there stand
  // in a row above it.
  cellPanel() {
    const { row, answering: { grid, ahead } } = this;
    const wide = Math.ceil(Math.sqrt(row.length));
    const [down, across] = grid || [Math.ceil(row.length / wide), wide];
    const above = ahead ? 1 : 0;
    const tokens = [...row.keys()].map(i => (i < ahead ? i : i - ahead + above * across));
    const flat = new Float32Array(across * (down + above)).fill(NaN);
    tokens.forEach((cell, i) => { flat[cell] = row[i]; });
    const picture = grid && this.picture;
    const colour = value => [...this.rgb(value),
      picture ? 255 * (0.15 + 0.5 * Math.abs(this.placeOf(value))) : 255];
    const values = { shape: [1, down + above, across], values: flat };
    const heat = { values, affine: [[1, 0, 0], [0, 1, -above]], colour };
    const whole = [-0.5, -0.5, across - 0.5, down - 0.5];
    const box = [-0.5, -0.5 - above, across - 0.5, down - 0.5];
    const notes = tokens.map((cell, i) => {
      const rank = this.strongest.indexOf(i);
      const at = [cell % across, Math.floor(cell / across) - above];
      const own = this.same && i === this.focus;
      return { at, words: rank < 0 ? "" : String(rank + 1), ring: own && 12,
        cross: this.crosses(this.answering, i) && 6 };
    });
    return { box, whole, picture, people: [], notes, heat, tokens };
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
    if (this.host.state.frame >= 0) this.lookAt(this.host.state.frame);
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

  hide(joint) {
    this.host.askFor(this.model, "hidden", joint);
  }

  knock(i) {
    this.host.askFor(this.model, "knocked_out", placeIn(this.main[i]));
  }
}

const placeIn = ({ name, layer, head }) => [name, layer, head];
