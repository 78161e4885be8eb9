// All attention maps of one forward pass as thumbnails, one enlarged, and beside it who looks at
// whom. Hovering asks no kernel. Words from data only ever become text, never markup.
// Python puts pens.js and maps.js in front of it.

const KERNEL = "This needs a kernel: open the notebook in JupyterLab and run it.";
const ORDERS = {
  model: "as in the model",
  entropy: "most even first",
  bones: "most like the bones",
  change: "most changed",
};
const FOLDS = { none: "joint and flow", joint: "joints", flow: "flows" };
const ARC_PX = 18; // width of an arc that carries all of the weight

// --- drawings ------------------------------------------------------------------------------------

function marked(axis, index, view) {
  return view.hides(axis) && view.hidden.includes(Math.floor(index / (axis.flows.length || 1)));
}

function drawLabels(pen, axis, view, { chosen, size, at, align, turn }) {
  const every = Math.ceil(13 / size);
  const [cos, sin] = [Math.cos, Math.sin].map(part => part((turn * Math.PI) / 180));
  axis.labels.forEach((label, i) => {
    const near = chosen !== null && i !== chosen && Math.abs(i - chosen) < every;
    if (i !== chosen && (i % every || near)) return;
    const fill = i === chosen ? view.tone.ink : view.tone.soft;
    const words = label.length > 20 ? `${label.slice(0, 19)}…` : label;
    const [x, y] = at(i);
    pen.text(x, y, words, { size: 10.5, align, turn, fill, bold: i === chosen });
    if (!marked(axis, i, view)) return;
    const back = align === "right" ? widthOf(words, 10.5) * (i === chosen ? 1.15 : 1) + 8 : 11;
    const look = { size: 10.5, align: "center", turn, fill: view.tone.hidden, bold: true };
    pen.text(x - back * cos, y - back * sin, "✕", look);
  });
}

const spaceOf = labels => Math.min(Math.max(...labels.map(l => widthOf(`✕ ${l}`, 10.5))), 124);

function drawMap(pen, width, height, view) {
  const { rows, columns, query, key } = view.shown;
  const side = spaceOf(query.labels);
  const turn = spaceOf(key.labels) > 26 ? -60 : 0;
  const below = turn ? spaceOf(key.labels) * 0.87 + 12 : 18;
  const x = side + 26;
  const y = 26;
  let across = (width - x - 10) / columns;
  let down = (height - y - below - 66) / rows;
  across = Math.min(across, 2 * down);
  down = Math.min(down, 2 * across);
  const [w, h] = [across * columns, down * rows];
  view.area = { x, y, across, down };
  pen.text(12, 12, view.title(), { size: 12, bold: true, fill: view.tone.ink });
  pen.picture(view.bitmap, x, y, w, h, false);
  pen.rect(x, y, w, h, { stroke: view.tone.line });
  const focus = view.focus;
  const inward = view.inward;
  if (focus !== null) {
    const [fx, fy] = inward ? [x + focus * across, y] : [x, y + focus * down];
    const [fw, fh] = inward ? [across, h] : [w, down];
    pen.rect(fx - 1, fy - 1, fw + 2, fh + 2, { stroke: view.tone.ink, thick: 2 });
  }
  const rowPlace = i => [x - 6, y + (i + 0.5) * down];
  const chosen = { row: inward ? view.answer : focus, column: inward ? focus : view.answer };
  const rowLook = { at: rowPlace, align: "right", turn: 0 };
  drawLabels(pen, query, view, { chosen: chosen.row, size: down, ...rowLook });
  const columnPlace = i => [x + (i + 0.5) * across, y + h + (turn ? 7 : 10)];
  const align = turn ? "right" : "center";
  drawLabels(pen, key, view, { chosen: chosen.column, size: across, at: columnPlace, align, turn });
  const title = { size: 11, align: "center", fill: view.tone.soft };
  pen.text(9, y + h / 2, `asks: ${query.kind}`, { ...title, turn: -90 });
  pen.text(x + w / 2, y + h + below + 8, `answers: ${key.kind}`, title);
  drawLegend(pen, x, y + h + below + 24, Math.min(w, 300), view);
}

function drawLegend(pen, x, y, width, view) {
  const steps = 48;
  for (let i = 0; i < steps; i++) {
    const fill = view.colourAt((2 * i) / (steps - 1) - 1);
    pen.rect(x + (i * width) / steps, y, width / steps + 0.5, 10, { fill });
  }
  const ticks = view.scale[view.kind === "difference" ? "difference_ticks" : "ticks"];
  const end = ["left", "center", "center", "center", "right"];
  ticks.forEach((words, i) => {
    const at = x + (i * width) / (ticks.length - 1);
    pen.text(at, y + 19, words, { size: 10, align: end[i], fill: view.tone.soft });
  });
  const words = { times: "times uniform", difference: view.against, ratio: view.against };
  pen.text(x, y + 33, words[view.kind], { size: 10, fill: view.tone.soft });
}

function drawSide(pen, width, height, view) {
  pen.rect(0, 0, width, height, { fill: view.tone.tint });
  if (view.bodily) drawBody(pen, width, height, view);
  else drawCells(pen, width, height, view);
}

// The picture, as large as it may be, and the points that lie on it.
function pictured(pen, picture, xy, width, height) {
  const zoom = Math.min(width / picture.width, height / picture.height);
  const x = (width - zoom * picture.width) / 2;
  const y = (height - zoom * picture.height) / 2;
  pen.picture(picture, x, y, zoom * picture.width, zoom * picture.height, true);
  return xy.map(([a, b]) => [x + (a + 0.5) * zoom, y + (b + 0.5) * zoom]);
}

function drawBody(pen, width, height, view) {
  const { tone, joint, picture } = view;
  const points = picture
    ? pictured(pen, picture, view.body.xy, width, height)
    : pointsOf(view.body.xy, width, height);
  view.points = points;
  for (const [a, b] of view.body.edges) {
    const middle = [0, 1].map(k => (points[a][k] + points[b][k]) / 2);
    pen.curve(points[a], middle, points[b], tone.line, 5);
  }
  for (const [j, value] of view.arcsOn ? view.jointValues.entries() : []) {
    const thick = view.arcWidth(value);
    if (thick < 0.3 || j === joint) continue;
    const ends = view.inward ? [points[j], points[joint]] : [points[joint], points[j]];
    if (picture) drawArc(pen, ...ends, tone.paper, thick + 2);
    drawArc(pen, ...ends, view.arcColour(value), thick);
  }
  points.forEach(([x, y], j) => {
    pen.dot(x, y, 6, view.fillOf(view.jointValues[j]), j === joint ? tone.ink : tone.soft);
    if (view.arcsOn && j === joint) pen.dot(x, y, 9, "none", tone.ink, 2);
    if (!view.hidden.includes(j)) return;
    for (const s of [-1, 1]) {
      pen.curve([x - 6, y - 6 * s], [x, y], [x + 6, y + 6 * s], tone.hidden, 2.5);
    }
  });
  const ranks = view.strongest.filter(i => i !== joint || !view.arcsOn);
  const own = view.arcsOn ? [[joint, view.body.joints[joint]]] : [];
  const numbers = ranks.map(i => [i, String(view.strongest.indexOf(i) + 1)]);
  for (const [j, words] of view.unfolded ? own : [...numbers, ...own]) {
    const room = points[j][0] + 12 + widthOf(words, 12) < width;
    const [x, align] = room ? [points[j][0] + 11, "left"] : [points[j][0] - 11, "right"];
    const wide = widthOf(words, 12) * 1.1 + 4;
    const left = room ? x - 2 : x - wide + 2;
    if (picture) pen.rect(left, points[j][1] - 18, wide, 16, { fill: tone.paper });
    pen.text(x, points[j][1] - 10, words, { size: 12, align, bold: true, fill: tone.ink });
  }
}

// Where the cell of a token lies: [column, row]. Tokens that have no place on the picture stand in
// a row above it.
function cellOf(axis, across, i) {
  const ahead = axis.ahead || 0;
  if (i < ahead) return [i, -1];
  return [(i - ahead) % across, Math.floor((i - ahead) / across)];
}

function drawCells(pen, width, height, view) {
  const { tone, row } = view;
  const axis = view.answering;
  const ahead = axis.ahead || 0;
  const above = ahead ? 1 : 0;
  const count = axis.labels.length;
  const wide = Math.ceil(Math.sqrt((count * width) / height));
  const [down, across] = axis.grid || [Math.ceil(count / wide), wide];
  const size = Math.min((width - 24) / across, (height - 24) / (down + above), 48);
  const x = (width - size * across) / 2;
  const y = (height - size * (down + above)) / 2 + above * size;
  view.cells = { x, y, size, across, count, ahead };
  const pictured = view.picture && axis.grid;
  if (pictured) pen.picture(view.picture, x, y, size * across, size * down, true);
  axis.labels.forEach((label, i) => {
    const [left, top] = cellOf(axis, across, i).map((v, k) => [x, y][k] + v * size);
    const fill = view.fillOf(row[i]);
    const veil = 0.15 + 0.5 * Math.abs(placeOf(row[i], view.kind, view.scale) || 0);
    const see = pictured ? fill.replace("rgb", "rgba").replace(")", `, ${veil})`) : fill;
    pen.rect(left, top, size, size, { fill: see, stroke: pictured ? undefined : tone.tint });
    const rank = view.strongest.indexOf(i) + 1;
    const middle = [left + size / 2, top + size / 2];
    const words = rank && size >= 9 ? String(rank) : "";
    const ink = pictured ? tone.ink : view.inkOn(row[i]);
    if (words && pictured) pen.dot(...middle, 8, tone.paper, "none", 0);
    if (words) pen.text(...middle, words, { align: "center", bold: true, fill: ink });
    if (!marked(axis, i, view)) return;
    pen.curve([left + 3, top + 3], middle, [left + size - 3, top + size - 3], tone.hidden, 2);
  });
  if (!view.same || view.focus === null) return;
  const [column, line] = cellOf(axis, across, view.focus);
  pen.rect(x + column * size, y + line * size, size, size, { stroke: tone.ink, thick: 2.5 });
}

// --- the view ------------------------------------------------------------------------------------

const TONES = ["ink", "soft", "line", "tint", "paper", "none", "hidden"];

class View {
  constructor(model, el) {
    this.model = model;
    this.root = make("div", { className: "workbench-view" });
    if (model.get("theme")) this.root.dataset.theme = model.get("theme");
    this.pin = null;
    this.asked = 0;
    this.answer = null;
    this.waiting = false;
    this.undo = [];
    this.build();
    el.appendChild(this.root);
    this.read();
    this.apply(model.get("choice"));
    this.listen();
    this.loadPicture();
    this.refresh();
  }

  // What Python sent.
  read() {
    const get = name => this.model.get(name);
    this.names = get("names");
    this.scale = get("scale");
    this.body = get("body");
    this.hidden = get("hidden");
    this.main = readHeads(get("maps"), get("data"));
    this.other = get("other_data").byteLength ? readHeads(get("maps"), get("other_data")) : null;
    this.verdict.textContent = get("verdict");
    const layout = JSON.stringify(get("maps"));
    if (layout !== this.layout) this.buildThumbs();
    this.layout = layout;
    this.fillOptions();
  }

  build() {
    const act = (words, onclick, title = "") =>
      make("button", { type: "button", textContent: words, onclick, title });
    const choose = (words, name) => {
      const select = make("select", { name });
      select.onchange = () => this.chose();
      return [select, make("label", {}, words, " ", select)];
    };
    const [show, showLabel] = choose("show", "show");
    const [order, orderLabel] = choose("heads", "order");
    const [fold, foldLabel] = choose("tokens", "fold");
    Object.assign(this, { show, order, fold, foldLabel });
    this.way = act("", () => this.turn());
    this.pinned = act("pin A", () => this.pinNow(), "keep these maps for comparison");
    const files = takeAway("attention", {
      drawing: () => this.drawing(),
      table: () => csv(this.shown, this.kind),
      texts: { "copy state": () => this.stateText() },
    });
    const keys = "Arrows: row and head. Enter: hide. K: knock out. I: in or out.";
    const brief = this.model.get("brief");
    const rare = brief ? [orderLabel, this.way] : [];
    const inside = make("div", {}, ...rare, foldLabel, make("small", {}, keys));
    const more = make("details", {}, make("summary", { textContent: "more" }), inside);
    this.verdict = make("p", { className: "verdict" });
    this.said = make("p", { className: "said" });
    this.said.setAttribute("role", "status");
    this.heads = make("div", { className: "heads" });
    this.map = make("canvas", { className: "map", tabIndex: 0 });
    this.map.setAttribute("role", "application");
    this.map.setAttribute("aria-label", "attention map; arrows: row and head");
    this.side = make("canvas", { className: "side" });
    this.asks = make("p", { className: "asks" });
    this.five = make("ol", {});
    this.buttons = [];
    const often = brief ? [showLabel, this.pinned] : [showLabel, orderLabel, this.way, this.pinned];
    const bar = make("div", { className: "bar" }, ...often, more, files);
    const right = make("div", { className: "right" }, this.side, this.asks, this.five);
    const main = make("div", { className: "main" }, this.heads, this.map, right);
    this.root.append(bar, this.verdict, main, this.said);
  }

  buildThumbs() {
    this.buttons = this.main.map((head, i) => {
      const picture = make("canvas", { width: head.columns, height: head.rows });
      const note = make("span", {});
      const button = make("button", { type: "button", className: "thumb" }, picture, note);
      const cross = make("button", { type: "button", className: "knock", textContent: "✕" });
      const name = `${head.name}, layer ${head.layer + 1}, head ${head.head + 1}`;
      button.title = name;
      cross.title = `knock out ${name}`;
      button.onclick = () => this.select(i);
      cross.onclick = () => this.knock(i);
      return make("div", { className: "cell" }, button, cross);
    });
  }

  fillOptions() {
    const [main, other] = this.names;
    const options = { main };
    if (this.other) options.other = other;
    if (this.pin) options.pin = "A (pinned)";
    const reference = this.pin ? "A" : other;
    if (this.other || this.pin) {
      options.difference = `${main} − ${reference}`;
      options.ratio = `${main} : ${reference}`;
    }
    const orders = { ...ORDERS };
    if (!this.body.edges.length || this.main[0].key.kind !== "joint") delete orders.bones;
    if (!this.other && !this.pin) delete orders.change;
    const fill = (select, words) => {
      const value = select.value;
      select.replaceChildren(...Object.entries(words).map(([key, text]) => new Option(text, key)));
      select.value = value in words ? value : Object.keys(words)[0];
    };
    fill(this.show, options);
    fill(this.order, orders);
    fill(this.fold, FOLDS);
    this.foldLabel.hidden = !this.main.some(head => head.key.flows.length);
  }

  apply(choice) {
    const [name, layer, head] = choice.head;
    const same = h => h.name === name && h.layer === layer && h.head === head;
    this.index = Math.max(this.main.findIndex(same), 0);
    for (const part of ["show", "order", "fold"]) {
      const known = [...this[part].options].some(option => option.value === choice[part]);
      if (known) this[part].value = choice[part];
    }
    this.inward = choice.direction === "in";
    this.focus = choice.focus;
  }

  choice() {
    const { name, layer, head } = this.main[this.index];
    const direction = this.inward ? "in" : "out";
    const show = this.pin ? "main" : this.show.value; // what is pinned stays in this page
    const [order, fold] = [this.order.value, this.fold.value];
    return { head: [name, layer, head], show, order, fold, direction, focus: this.focus };
  }

  chose() {
    this.refresh();
    this.share();
  }

  share() {
    this.model.set("choice", this.choice());
    this.model.save_changes();
  }

  listen() {
    const on = (target, name, does) => {
      target.addEventListener(name, does);
      this.undo.push(() => target.removeEventListener(name, does));
    };
    on(this.map, "pointermove", event => this.overMap(event));
    on(this.side, "pointermove", event => this.overSide(event));
    on(this.side, "click", event => this.clicked(event));
    on(this.map, "keydown", event => this.key(event));
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => this.refresh());
    let stale = false;
    const read = () => {
      stale = false;
      this.read();
      this.refresh();
    };
    const again = () => {
      if (!stale) queueMicrotask(read); // once for all that one message brought
      stale = true;
    };
    const follow = () => {
      const choice = this.model.get("choice");
      if (JSON.stringify(choice) === JSON.stringify(this.choice())) return;
      this.apply(choice);
      this.refresh();
    };
    const names = ["maps", "names", "data", "other_data", "body", "hidden", "knocked_out"];
    names.push("verdict", "answered");
    const watch = (name, does) => {
      this.model.on(`change:${name}`, does);
      this.undo.push(() => this.model.off(`change:${name}`, does));
    };
    names.forEach(name => watch(name, again));
    watch("choice", follow);
    watch("picture", () => this.loadPicture());
    const seen = new MutationObserver(() => this.refresh());
    seen.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    const sized = new ResizeObserver(() => (this.tone ? this.soon() : this.refresh()));
    sized.observe(this.root);
    this.undo.push(() => seen.disconnect(), () => sized.disconnect());
  }

  async loadPicture() {
    const bytes = this.model.get("picture");
    this.picture = bytes.byteLength ? await createImageBitmap(new Blob([bytes])) : null;
    this.soon();
  }

  // --- what is shown

  // Whether one hides this axis' tokens, or their joints.
  hides(axis) {
    const query = this.main[0].query;
    return axis.flows.length > 0 || axis.kind === (query.flows.length ? "joint" : query.kind);
  }

  colourAt(place) {
    return Number.isNaN(place) ? this.tone.none : `rgb(${mix(place, this.stops)})`;
  }

  fillOf(value) {
    return this.colourAt(placeOf(value, this.kind, this.scale));
  }

  inkOn(value) {
    const place = placeOf(value, this.kind, this.scale);
    const [r, g, b] = Number.isNaN(place) ? [128, 128, 128] : mix(place, this.stops);
    return 0.3 * r + 0.59 * g + 0.11 * b > 130 ? "#111" : "#fff";
  }

  arcWidth(value) {
    if (Number.isNaN(value)) return 0;
    if (this.kind === "ratio") return Math.min(1.5 * Math.abs(Math.log2(value)), 6);
    const keys = this.unfolded ? this.body.joints.length : this.shown.columns;
    return Math.min((ARC_PX * Math.abs(value)) / keys, ARC_PX);
  }

  arcColour(value) {
    if (this.kind === "times") return this.tone.ink;
    return this.colourAt(placeOf(value, this.kind, this.scale) > 0 ? 0.75 : -0.75);
  }

  title() {
    const { name, layer, head, lone } = this.shown;
    const words = this.show.selectedOptions[0].textContent;
    return `${name}${lone ? "" : `, layer ${layer + 1}`}, head ${head + 1} · ${words}`;
  }

  headAs(i) {
    const sources = { other: this.other, pin: this.pin };
    const head = folded((sources[this.show.value] || this.main)[i], this.fold.value);
    if (this.kind === "times") return head;
    return compared(head, folded((this.pin || this.other)[i], this.fold.value), this.kind);
  }

  bitmapOf(head) {
    const picture = make("canvas", { width: head.columns, height: head.rows });
    const context = picture.getContext("2d");
    const image = context.createImageData(head.columns, head.rows);
    const none = this.tone.noneRgb;
    head.values.forEach((value, i) => {
      const place = placeOf(value, this.kind, this.scale);
      image.data.set(Number.isNaN(place) ? none : mix(place, this.stops), 4 * i);
      image.data[4 * i + 3] = 255;
    });
    context.putImageData(image, 0, 0);
    return picture;
  }

  // False where the view stands in no page yet: its first size tells.
  readTheme() {
    const style = getComputedStyle(this.root);
    const value = name => style.getPropertyValue(`--wb-${name}`).trim();
    if (!value("none")) return false;
    this.tone = Object.fromEntries(TONES.map(name => [name, value(name)]));
    this.stops = this.scale[value("theme") || "light"];
    const digits = this.tone.none.match(/[0-9a-f]{2}/gi);
    this.tone.noneRgb = digits.map(pair => parseInt(pair, 16));
    return true;
  }

  measured() {
    const reference = this.pin || this.other;
    return {
      entropy: i => entropy(this.main[i]),
      bones: i => likeness(this.main[i], this.body.edges),
      change: i => moved(this.main[i], reference[i]),
    }[this.order.value];
  }

  refresh() {
    const shows = this.show.value;
    this.kind = shows === "difference" || shows === "ratio" ? shows : "times";
    const reference = this.pin ? "A (pinned)" : this.names[1];
    const sign = this.kind === "ratio" ? ":" : "−";
    this.against = `${this.names[0]} ${sign} ${reference}, times uniform`;
    this.way.textContent = this.inward ? "arrows: in" : "arrows: out";
    this.way.title = this.inward ? "who looks at it (a column)" : "whom it looks at (a row)";
    this.pinned.textContent = this.pin ? "unpin A" : "pin A";
    if (!this.readTheme()) return;
    this.drawHeads();
    const busy = this.model.get("answers") && this.model.get("answered") < this.asked;
    if (busy) this.tell("computing …");
    else if (this.said.textContent === "computing …") this.tell("");
    this.soon();
  }

  drawHeads() {
    const out = this.model.get("knocked_out").map(String);
    const measure = this.measured();
    const score = measure ? this.main.map((_, i) => measure(i)) : null;
    const order = this.main.map((_, i) => i);
    if (score) order.sort((a, b) => score[b] - score[a]);
    this.sequence = order;
    const pieces = [];
    let line = "";
    const columns = Math.max(...this.main.map(head => head.head)) + 1;
    for (const i of order) {
      const { name, layer, head, lone } = this.main[i];
      const cell = this.buttons[i];
      const [button, cross] = cell.children;
      const drawn = this.bitmapOf(this.headAs(i));
      button.replaceChild(drawn, button.firstChild);
      button.setAttribute("aria-pressed", i === this.index);
      const gone = out.includes(String([name, layer, head]));
      cell.classList.toggle("out", gone);
      cross.setAttribute("aria-pressed", gone);
      const short = lone ? `${head + 1}` : `${layer + 1}·${head + 1}`;
      button.lastChild.textContent = score ? `${short}  ${score[i].toFixed(2)}` : short;
      if (!score && name !== line) {
        const words = lone ? `${name}: head` : `${name}: layer · head`;
        pieces.push(make("div", { className: "name", textContent: words, title: name }));
        line = name;
      }
      cell.style.gridColumnStart = !score && head === 0 ? 1 : "auto";
      pieces.push(cell);
    }
    this.heads.style.setProperty("--columns", Math.max(columns, 3));
    const now = [...this.heads.children];
    const steady = piece => piece.className.startsWith("cell");
    const kept = now.filter(steady).every((piece, k) => piece === pieces.filter(steady)[k]);
    if (!kept || now.length !== pieces.length) this.heads.replaceChildren(...pieces);
  }

  // Draws with the screen's next frame, whatever came before.
  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.root.isConnected && this.tone) this.draw();
    });
  }

  prepare() {
    this.shown = this.headAs(this.index);
    this.bitmap = this.buttons[this.index].firstChild.firstChild;
    const { query, key, rows, columns } = this.shown;
    const count = this.inward ? columns : rows;
    this.focus = Math.min(this.focus ?? 0, count - 1);
    this.asking = this.inward ? key : query;
    this.answering = this.inward ? query : key;
    this.same = query.kind === key.kind && String(query.labels) === String(key.labels);
    this.row = rowOf(this.shown, this.focus, this.inward);
    const places = [...this.row.keys()];
    places.sort((a, b) => strength(this.row[b], this.kind) - strength(this.row[a], this.kind));
    this.strongest = places.slice(0, 5);
    const flows = this.answering.flows.length;
    const joints = this.answering.kind === "joint" || flows > 0;
    const own = this.asking.flows.length || 1;
    this.unfolded = flows > 0;
    this.bodily = joints && this.body.xy.length > 0;
    this.arcsOn = this.bodily && this.same;
    this.joint = Math.floor(this.focus / own);
    this.jointValues = this.row;
    if (!this.unfolded) return;
    const lumps = this.body.joints.map((_, j) => this.row.subarray(j * flows, (j + 1) * flows));
    this.jointValues = Float32Array.from(lumps, mean);
  }

  draw() {
    this.prepare();
    this.onFocus?.(this.asking, this.focus);
    this.root.classList.toggle("narrow", this.root.clientWidth < 760);
    for (const [canvas, drawing] of [[this.map, drawMap], [this.side, drawSide]]) {
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      const pen = new CanvasPen(canvas, width, height, devicePixelRatio || 1);
      drawing(pen, width, height, this);
    }
    this.list();
  }

  list() {
    const asker = nameOf(this.asking, this.focus);
    const weights = this.kind === "times";
    const than = { times: "", difference: ": more or less", ratio: ": how many times as much" };
    const words = this.inward ? `Who looks at ${asker}` : `${asker} looks at`;
    this.asks.textContent = words + than[this.kind];
    const keys = this.inward ? null : known(this.row);
    const items = this.strongest.map(i => {
      const value = this.row[i];
      const share = weights && keys && value >= 0 ? ` (${(value / keys).toFixed(3)})` : "";
      const amount = make("b", { textContent: inWords(value, this.kind) + share });
      return make("li", {}, make("span", { textContent: nameOf(this.answering, i) }), amount);
    });
    this.five.replaceChildren(...items);
  }

  tell(words) {
    this.said.textContent = words;
  }

  // --- pointer and keys

  overMap(event) {
    const { x, y, across, down } = this.area;
    const column = Math.floor((event.offsetX - x) / across);
    const row = Math.floor((event.offsetY - y) / down);
    const { rows, columns, query, key, values } = this.shown;
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    [this.focus, this.answer] = this.inward ? [column, row] : [row, column];
    const value = inWords(values[row * columns + column], this.kind);
    this.tell(`${nameOf(query, row)} looks at ${nameOf(key, column)}: ${value}`);
    this.soon();
  }

  // The token under the pointer, or -1.
  under(event) {
    if (this.bodily) {
      const far = this.points.map(([x, y]) => Math.hypot(x - event.offsetX, y - event.offsetY));
      const nearest = far.indexOf(Math.min(...far));
      return far[nearest] < 22 ? nearest : -1;
    }
    const { x, y, size, across, count, ahead } = this.cells;
    const column = Math.floor((event.offsetX - x) / size);
    const line = Math.floor((event.offsetY - y) / size);
    const place = line < 0 ? column : line * across + column + ahead;
    const inside = line >= 0 ? place < count : line === -1 && column < ahead;
    return inside && column >= 0 && column < across ? place : -1;
  }

  overSide(event) {
    const place = this.under(event);
    this.side.style.cursor = place < 0 ? "default" : "pointer";
    if (place < 0) return;
    const token = this.unfolded ? place * this.answering.flows.length : place;
    const value = (this.bodily ? this.jointValues : this.row)[place];
    if (this.same) this.focus = token;
    else this.answer = token;
    const label = this.bodily ? this.body.joints[place] : nameOf(this.answering, place);
    this.tell(this.same ? label : `${label}: ${inWords(value, this.kind)}`);
    this.soon();
  }

  clicked(event) {
    const place = this.under(event);
    if (place >= 0 && this.same && this.hides(this.answering)) this.hide(place);
  }

  key(event) {
    const { rows, columns } = this.shown;
    const count = this.inward ? columns : rows;
    const at = this.sequence.indexOf(this.index);
    const row = step => {
      this.focus = (this.focus + step + count) % count;
      this.answer = null;
      this.share();
      this.soon();
    };
    const head = step => {
      const next = at + step + this.sequence.length;
      this.select(this.sequence[next % this.sequence.length]);
    };
    const keys = {
      ArrowUp: () => row(-1),
      ArrowDown: () => row(1),
      ArrowLeft: () => head(-1),
      ArrowRight: () => head(1),
      Enter: () => this.hides(this.asking) && this.hide(this.joint),
      k: () => this.knock(this.index),
      i: () => this.turn(),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  select(index) {
    this.index = index;
    this.chose();
  }

  turn() {
    this.inward = !this.inward;
    this.answer = null;
    this.chose();
  }

  pinNow() {
    const copied = head => ({ ...head, values: head.values.slice() });
    const shows = this.show.value === "other" ? this.other : this.main;
    this.pin = this.pin ? null : shows.map(copied);
    this.fillOptions();
    this.tell(this.pin ? "A is kept: choose a difference, or change something." : "");
    this.refresh();
  }

  // --- what a kernel answers

  ask(trait, value) {
    if (this.onAsk) return this.onAsk(trait, value);
    if (!this.model.get("live")) {
      this.tell(KERNEL);
      return null;
    }
    this.asked = Math.max(this.asked, this.model.get("asked")) + 1;
    this.model.set(trait, value);
    this.model.set("asked", this.asked);
    this.model.save_changes();
    this.refresh();
    return null;
  }

  // The frame that the scrubber shows, where frames ask.
  lookAt(frame) {
    const { kind, labels } = this.main[0].query;
    if (kind !== "frame") return;
    const far = labels.map(label => Math.abs(Number(label) - frame));
    this.focus = far.indexOf(Math.min(...far));
    this.soon();
  }

  hide(place) {
    const hidden = this.model.get("hidden");
    const left = hidden.filter(other => other !== place);
    const longer = [...hidden, place].sort((a, b) => a - b);
    this.ask("hidden", left.length < hidden.length ? left : longer);
  }

  knock(index) {
    const { name, layer, head } = this.main[index];
    const own = [name, layer, head];
    const out = this.model.get("knocked_out");
    const left = out.filter(other => String(other) !== String(own));
    this.ask("knocked_out", left.length < out.length ? left : [...out, own]);
  }

  // --- files

  // The enlarged map and what stands beside it.
  drawBoth(pen, sizes) {
    const [mapWidth, mapHeight, sideWidth, sideHeight] = sizes;
    const height = Math.max(mapHeight, sideHeight);
    pen.rect(0, 0, mapWidth + sideWidth, height, { fill: this.tone.paper });
    pen.moved(0, 0, () => drawMap(pen, mapWidth, mapHeight, this));
    pen.moved(mapWidth, 0, () => drawSide(pen, sideWidth, sideHeight, this));
  }

  sizes() {
    const [map, side] = [this.map, this.side];
    return [map.clientWidth, map.clientHeight, side.clientWidth, side.clientHeight];
  }

  drawing() {
    const sizes = this.sizes();
    const [width, height] = [sizes[0] + sizes[2], Math.max(sizes[1], sizes[3])];
    return [width, height, pen => this.drawBoth(pen, sizes)];
  }

  stateText() {
    const [out, hidden] = [this.model.get("knocked_out"), this.model.get("hidden")];
    return JSON.stringify({ ...this.choice(), knocked_out: out, hidden });
  }
}
