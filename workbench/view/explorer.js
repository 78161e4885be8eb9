// An explorer: controls, one sentence that answers them, and panels or attention maps in tabs. What
// the browser can show by itself it shows; for the rest it asks the kernel, or looks the answer up
// among those stored in a page. Words from data only ever become text, never markup.

const KERNEL = "This needs a kernel: open the notebook in JupyterLab and run it.";
const DIMMED = "Dimmed controls need JupyterLab.";
const SAID_MS = 2500; // how long a refusal stands beside the pointer
const BUSY = "computing …";
const LOCAL = "nothing"; // what a control needs: nothing, drawing, model
// Of an explorer that has attention maps alone.
const BARE = {
  name: "attention", state: {}, controls: [], tabs: {}, stored: [], picture_ends: [],
  skeleton: { joints: [], edges: [] },
};

const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The list with an item more, or less where it has it; numbers stay in order.
function toggled(list, item) {
  const left = list.filter(other => `${other}` !== `${item}`);
  return left.length < list.length ? left : [...list, item].sort((a, b) => a - b);
}

class Explorer {
  constructor(model, el, child) {
    Object.assign(this, { model, child, undo: [], bitmaps: [], inputs: {}, panels: [] });
    this.root = make("div", { className: "workbench-view" });
    // JupyterLab takes arrows and letters from what has the focus, unless it says no itself.
    const own = ({ target }) => { target.dataset.lmSuppressShortcuts = true; };
    this.root.addEventListener("focusin", own);
    this.root.addEventListener("pointerdown", event => { this.pressedAt = event; }, true);
    this.root.addEventListener("keydown", () => { this.pressedAt = null; }, true);
    if (model.get("theme")) this.root.dataset.theme = model.get("theme");
    this.place = make("div", { className: "place" });
    this.maps = child && new Maps(child, this);
    this.first = this.state;
    this.build();
    el.appendChild(this.root);
    this.readPictures();
    this.read();
    this.listen();
  }

  get(name) {
    return this.model.get(name) ?? BARE[name];
  }

  get state() {
    return this.get("state");
  }

  get skeleton() {
    return this.get("skeleton");
  }

  build() {
    this.verdict = make("p", { className: "verdict", role: "status" });
    this.goal = make("p", { className: "goal" });
    this.said = make("p", { className: "said", role: "status" });
    this.refusal = make("div", { className: "refusal", hidden: true });
    this.dimmed = make("small", { textContent: DIMMED, hidden: true });
    this.tabs = make("div", { className: "tabs", role: "tablist" });
    const own = chosen => this.get("controls").filter(chosen).map(c => this.control(c));
    const { sight = [], rare = [] } = this.maps || {};
    const often = own(c => !c.more && c.kind !== "frame");
    const more = own(c => c.more);
    const texts = { "copy state": () => this.permalink() };
    if (this.get("code")) texts["copy as code"] = () => this.code();
    const menus = make("div", { className: "menus" },
      menu("more", more.length ? "more" : "of-maps", ...more, ...rare),
      takeAway(this.get("name"), () => this.drawing(), () => this.rows(), texts));
    const bar = make("div", { className: "bar" }, ...often, ...sight,
      ...(this.get("live") || !this.get("controls").length ? [] : [this.dimmed]), menus);
    const scrubber = make("div", { className: "bar" }, ...own(c => c.kind === "frame"));
    this.root.append(bar, this.verdict, this.goal, this.tabs, this.place, scrubber, this.said,
      make("p", { className: "notes", textContent: this.get("notes") }), this.refusal);
  }

  control({ name, kind, label, options, low, high, step, needs }) {
    const set = value => this.set(name, value, needs);
    if (kind === "button") {
      const press = Object.assign(button(label, () => set(options[0])), { show() {} });
      return (this.inputs[name] = press);
    }
    let input = make("input", { type: "checkbox", onchange: () => set(input.checked) });
    const output = make("output", {});
    let show = value => { input.checked = value; };
    if (kind === "choice") {
      input = make("select", { onchange: () => set(input.value) });
      offer(input, options.map(option => [option, option]));
      show = value => { input.value = value; };
    } else if (kind !== "switch") {
      let keyed = false;
      const oninput = () => {
        set(this.nearest(name, Number(input.value), keyed));
        keyed = false;
      };
      input = make("input", { type: "range", min: low, max: high, step, oninput });
      input.onkeydown = () => { keyed = true; };
      show = value => {
        input.value = value;
        output.textContent = number(value);
      };
    }
    this.inputs[name] = Object.assign(input, { name, show });
    const play = kind === "frame" ? [this.player(set, input)] : [];
    return make("label", { className: kind }, label, input, output, ...play);
  }

  player(set, input) {
    const play = button("▶", () => (this.playing ? stop() : start()), "play");
    const start = () => {
      const step = () => set((Number(input.value) + 1) % (Number(input.max) + 1));
      this.playing = setInterval(step, 1000 / this.get("fps"));
      play.textContent = "❚❚";
    };
    const stop = () => {
      this.playing = clearInterval(this.playing);
      play.textContent = "▶";
    };
    this.undo.push(stop);
    return play;
  }

  // --- listening

  // Calls does() once for all that one message changed.
  watch(model, names, does) {
    let stale = false;
    const read = () => {
      stale = false;
      does();
    };
    const again = () => {
      if (!stale) queueMicrotask(read);
      stale = true;
    };
    for (const name of names) {
      model.on(`change:${name}`, again);
      this.undo.push(() => model.off(`change:${name}`, again));
    }
  }

  listen() {
    const names = ["tabs", "data", "state", "verdict", "goal", "controls", "asked", "answered"];
    this.watch(this.model, names, () => this.read());
    this.watch(this.model, ["pictures"], () => this.readPictures());
    if (this.maps) this.watch(this.child, ["asked", "answered"], () => this.read());
    const on = (target, name, does) => {
      target.addEventListener(name, does);
      this.undo.push(() => target.removeEventListener(name, does));
    };
    const painted = () => (this.maps ? this.maps.refresh() : this.soon());
    on(matchMedia("(prefers-color-scheme: dark)"), "change", painted);
    const open = () => this.root.querySelectorAll("details[open]");
    on(document, "pointerdown", ({ target }) =>
      open().forEach(one => { one.open = one.contains(target); }));
    on(document, "keydown", ({ key }) =>
      key === "Escape" && open().forEach(one => { one.open = false; }));
    const seen = new MutationObserver(painted);
    seen.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    const sized = new ResizeObserver(() => this.soon());
    sized.observe(this.root);
    this.undo.push(() => seen.disconnect(), () => sized.disconnect());
  }

  // --- what Python sent

  async readPictures() {
    const bytes = this.model.get("pictures");
    const turn = (this.turn = (this.turn || 0) + 1);
    const pieces = this.get("picture_ends").map((end, i, ends) => {
      const start = bytes.byteOffset + (ends[i - 1] || 0);
      return createImageBitmap(new Blob([bytes.buffer.slice(start, bytes.byteOffset + end)]));
    });
    const bitmaps = await Promise.all(pieces);
    if (turn !== this.turn) return;
    this.bitmaps = bitmaps;
    this.soon();
  }

  // What holds arrays as places in the bytes: { at, shape, half }.
  unpacked(value, data) {
    const array = ({ at, shape, half: short }) => {
      const length = shape.reduce((a, b) => a * b, 1);
      const part = new DataView(data.buffer, data.byteOffset + at, length * (short ? 2 : 4));
      const float = (_, i) => part.getFloat32(4 * i, true);
      return { shape, values: short ? halves(part) : Float32Array.from({ length }, float) };
    };
    return JSON.parse(JSON.stringify(value), (_, one) => (one?.shape ? array(one) : one));
  }

  unpack() {
    const [tabs, data] = [this.get("tabs"), this.get("data")];
    if (tabs !== this.sent?.tabs || data !== this.sent.data) this.rooms = this.unpacked(tabs, data);
    this.sent = { tabs, data };
    return tabs;
  }

  read() {
    const tabs = this.unpack();
    const names = Object.keys(tabs);
    if (this.maps) names.push("attention");
    const tab = names.includes(this.state.tab) ? this.state.tab : names[0];
    this.tabs.hidden = names.length < 2;
    if (this.tabs.children.length !== names.length) {
      const one = name => button(name, () => this.set("tab", name, LOCAL));
      this.tabs.replaceChildren(...names.map(name => Object.assign(one(name), { role: "tab" })));
    }
    [...this.tabs.children].forEach((one, i) => { one.ariaSelected = names[i] === tab; });
    for (const { name, low, high } of this.get("controls")) {
      const input = this.inputs[name];
      if (input?.type === "range") Object.assign(input, { min: low, max: high });
      input?.show(this.state[name]);
    }
    if (!this.get("live")) this.offer();
    this.verdict.textContent = this.get("verdict");
    const goals = (this.get("goal") || "").split("\n"); // of several, what was reached stays
    this.goals = goals.map((line, i) => (this.goals?.[i]?.startsWith("✓") ? this.goals[i] : line));
    this.goal.textContent = this.goals.join("\n");
    this.goal.classList.toggle("reached", this.goal.textContent.includes(" Reached."));
    const busy = [this.model, this.child].some(model =>
      model && model.get("answers") !== false && model.get("answered") < model.get("asked"));
    this.root.ariaBusy = busy;
    if (busy || this.said.textContent === BUSY) this.tell(busy ? BUSY : "");
    this.furnish(tab);
    this.soon();
  }

  // The canvases of the chosen tab; those of the same shape stay.
  furnish(tab) {
    const rows = this.rooms[tab];
    this.root.dataset.tab = tab;
    this.panels = rows ? rows.flat() : this.maps.panels;
    const shape = JSON.stringify([tab, rows?.map(row => row.map(({ wide }) => wide))]);
    if (shape !== this.shape) {
      this.canvases = rows ? this.panels.map(() => this.canvas("")) : this.maps.canvases;
      const left = [...this.canvases];
      this.place.replaceChildren(...(rows || []).map(row => {
        const line = make("div", { className: "row" }, ...left.splice(0, row.length));
        line.style.gridTemplateColumns = row.map(({ wide }) => `minmax(0, ${wide}fr)`).join(" ");
        return line;
      }), ...(rows ? [] : [this.maps.root]));
    }
    this.shape = shape;
    for (const line of this.panels.flatMap(({ lines = [] }) => lines)) this.follow(line);
    this.canvases.forEach((canvas, i) => { canvas.panel = this.panels[i]; });
  }

  // Where the reader has been stays.
  follow(line) {
    if (!line.trail) return;
    const been = ((this.been ||= {})[line.trail] ||= new Map());
    line.x.values.forEach((x, i) => been.set(x, line.y.values[i]));
    Object.assign(line, { x: { values: [...been.keys()] }, y: { values: [...been.values()] } });
  }

  canvas(className) {
    const canvas = make("canvas", { tabIndex: 0, className, role: "img" });
    // input may come before the frame that draws what was answered last
    const panel = () => {
      if (!canvas.panel.drawn) this.drawIfSeen();
      return canvas.panel;
    };
    canvas.onpointermove = event => this.pointed(panel(), event);
    canvas.onpointerdown = event => this.pressed(panel(), event);
    canvas.onpointerup = canvas.onpointercancel = () => { this.drag = null; };
    canvas.onkeydown = event => this.key(panel(), event);
    canvas.onblur = () => { this.cursor = undefined; };
    canvas.onpointerleave = () => {
      canvas.panel.ghost = undefined;
      this.soon();
    };
    return canvas;
  }

  // False where this stands in no page yet: its first size tells.
  readTheme() {
    const style = getComputedStyle(this.root);
    const value = name => style.getPropertyValue(`--wb-${name}`).trim();
    if (!value("ink")) return false;
    const known = (seen, name) => (seen[name] ??= value(name.replace("_", "-")));
    this.tone = new Proxy({}, { get: known });
    this.scale = this.get("scale");
    this.stops = this.scale[value("theme") || "light"];
    this.none = this.tone.none.match(/[0-9a-f]{2}/gi).map(pair => parseInt(pair, 16));
    return true;
  }

  // Draws with the screen's next frame, whatever came before.
  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawIfSeen();
    });
  }

  drawIfSeen() {
    if (this.root.isConnected && this.readTheme()) this.draw();
  }

  draw() {
    if (this.panels === this.maps?.panels) this.maps.prepare();
    const sizes = this.canvases.map(one => [`${one.parentElement.offsetLeft} ${one.offsetTop}`,
      one.clientWidth, one.clientHeight]);
    const [heads, feet] = [{}, {}]; // of panels that stand side by side
    sizes.forEach(([row, width], i) => {
      heads[row] = Math.max(heads[row] || 0, headOf(this.panels[i], width));
      feet[row] = Math.max(feet[row] || 0, footOf(this.panels[i], width, this));
    });
    this.fit(sizes, heads, feet);
    this.canvases.forEach((canvas, i) => {
      const [row, width, height] = sizes[i];
      const head = this.panels[i].kind === "side" ? 0 : heads[row];
      Object.assign(this.panels[i], { head, foot: feet[row] });
      const pen = new CanvasPen(canvas, width, height, devicePixelRatio || 1);
      drawPanel(pen, this.panels[i], width, height, this);
      canvas.ariaLabel = this.panels[i].title;
    });
  }

  // No row is higher than what it shows can fill; what is left goes to the others.
  fit(sizes, heads, feet) {
    const [line] = this.place.children;
    for (const one of [this.place, ...this.place.children]) one.style.maxHeight = "";
    const grid = one => getComputedStyle(one).display === "grid";
    if (!line?.matches(".row") || !grid(line) || grid(this.place)) return;
    const needs = {};
    sizes.forEach(([row, width], i) => {
      const need = heightOf(this.panels[i], width) + heads[row] + feet[row];
      needs[row] = Math.max(needs[row] || 0, need);
    });
    const all = Object.values(needs);
    const total = all.reduce((sum, need) => sum + need, 8 * (all.length - 1));
    const most = need => (Number.isFinite(need) ? `${Math.ceil(need)}px` : "");
    [...this.place.children].forEach((one, i) => { one.style.maxHeight = most(all[i]); });
    this.place.style.maxHeight = most(total);
  }

  tell(words) {
    this.said.textContent = words;
  }

  // Says no where the reader looks: beside the pointer, or below what has the focus.
  refuse() {
    this.tell(KERNEL);
    const at = this.root.getBoundingClientRect();
    const focus = document.activeElement.getBoundingClientRect();
    const { clientX, clientY } = this.pressedAt || { clientX: focus.left, clientY: focus.bottom };
    const left = Math.max(Math.min(clientX - at.left, at.width - 240), 0);
    this.refusal.textContent = KERNEL;
    this.refusal.style.cssText = `left: ${left}px; top: ${clientY - at.top + 14}px`;
    this.refusal.hidden = false;
    clearTimeout(this.fades);
    this.fades = setTimeout(() => { this.refusal.hidden = true; }, SAID_MS);
  }

  // --- what the reader does

  set(name, value, needs) {
    const state = { ...this.state, [name]: value };
    if (needs !== LOCAL && !this.model.get("live")) return this.lookUp(state, name);
    if (name === "frame") this.maps?.lookAt(value);
    return this.send(this.model, "state", state, needs !== LOCAL);
  }

  // One message a frame of the screen, with the newest.
  send(model, name, value, asks = true) {
    model.set(name, value);
    if (asks) model.set("asked", model.get("asked") + 1);
    if (!this.saving) requestAnimationFrame(() => {
      this.saving = false;
      this.model.save_changes();
      this.child?.save_changes();
    });
    this.saving = true;
  }

  // What the maps ask for; in a page it is looked up as the explorer's own.
  askFor(model, name, item) {
    if (model.get("live")) return this.send(model, name, toggled(model.get(name), item));
    const own = name.replace("_", " ");
    return this.set(own, toggled(this.state[own] || [], item), "model");
  }

  focused({ kind, labels }, focus) {
    const frame = Number(labels[focus]);
    if (kind !== "frame" || !this.inputs.frame || frame === this.state.frame) return;
    this.model.set("state", { ...this.state, frame }); // told with what is said next
  }

  isChosen(joint, panel) {
    const chosen = panel.click.control === "joint" && this.state.joint;
    return this.cursor === joint || chosen === this.skeleton.joints[joint];
  }

  under(panel, { offsetX, offsetY }) {
    return PANELS[panel.kind][1](panel, offsetX, offsetY, this);
  }

  pointed(panel, event) {
    const found = this.under(panel, event);
    if (this.drag) return this.dragged(panel, found);
    if (found.words !== undefined) this.tell(found.words);
    const hits = panel.brush || this.clickable(panel, found.joint);
    event.target.style.cursor = hits ? "crosshair" : "";
    if (panel.brush && !this.get("live")) this.showGhost(panel, found.place);
    return panel.over?.(found);
  }

  pressed(panel, event) {
    const found = this.under(panel, event);
    panel.press?.(found);
    if (panel.brush) event.target.setPointerCapture(event.pointerId);
    if (panel.brush) this.paint(panel, found.place, event);
    else if (panel.click) this.clicked(panel.click, found);
  }

  // What a click on a joint makes of its control; in a page, where that is not stored, of its first
  // value: one joint at a time.
  wanted({ control, how }, joint) {
    const change = {
      set: () => this.skeleton.joints[joint],
      toggle: value => toggled(value, joint),
    }[how];
    const next = change(this.state[control]);
    return this.has(control, next) ? next : change(this.first[control]);
  }

  clicked(click, { joint }) {
    if (joint === undefined) return;
    this.set(click.control, this.wanted(click, joint), click.needs);
  }

  clickable({ click, press }, joint) {
    if (!(joint >= 0)) return false;
    if (!click || click.needs === LOCAL) return Boolean(click || press);
    return this.has(click.control, this.wanted(click, joint));
  }

  // A press on a patch takes hold of it; elsewhere a new one begins, in the frames of its control.
  paint(panel, place, event) {
    const { brush } = this.state;
    const now = frameOf(panel, this);
    const on = ({ points, size, frames }) => now >= frames[0] && now <= frames[1]
      && points.some(p => Math.max(...p.map((v, i) => Math.abs(v - place[i]))) < size / 2);
    const index = event.shiftKey ? -1 : brush.findLastIndex(on);
    this.drag = { index: index < 0 ? brush.length : index, place, adds: index < 0 };
    if (index >= 0) return;
    this.set("brush", [...brush, this.patchAt(panel, place)], "model");
  }

  // Paint on a joint that the keys have chosen.
  cover(panel, joint) {
    const [all] = panel.people.length ? peopleAt(panel.people[0], frameOf(panel, this)) : [];
    const place = all?.[joint]?.slice(0, 2);
    if (!place?.every(Number.isFinite)) return;
    this.set("brush", [...this.state.brush, this.patchAt(panel, place)], "model");
  }

  patchAt(panel, place) {
    const now = frameOf(panel, this);
    const last = this.model.get("last_frame");
    const spans = { "this frame": [now, now], "this frame on": [now, last] };
    const frames = spans[this.state["paint in"]] || [0, last];
    return { points: [place], size: this.state.size, frames };
  }

  // In a page: where a press would put the patch, the nearest place that it has an answer to.
  showGhost(panel, place) {
    const answer = this.stored({ ...this.state, brush: [this.patchAt(panel, place)] }, "brush");
    const [ghost] = answer?.state.brush || [];
    if (equal(panel.ghost, ghost)) return;
    panel.ghost = ghost;
    this.soon();
  }

  dragged(panel, { place: to }) {
    const { index, place, adds } = this.drag;
    const shifted = points => points.map(p => p.map((v, i) => v + to[i] - place[i]));
    const led = this.model.get("live") ? shifted : () => [to]; // stored patches stand at places
    const moved = ({ points, ...rest }) => ({
      points: adds && led === shifted ? [...points, to] : led(points), ...rest,
    });
    const strokes = this.state.brush.map((one, i) => (i === index ? moved(one) : one));
    this.drag.place = to;
    return this.set("brush", strokes, "model");
  }

  // Left, right: the frame. Up, down: a joint; Enter: as a click on it. Maps have their own keys.
  key(panel, event) {
    const { frame } = this.inputs;
    const { joints } = this.skeleton;
    const toFrame = step => {
      const next = Math.min(Math.max(this.state.frame + step, 0), Number(frame?.max));
      if (frame) this.set("frame", next, LOCAL);
    };
    const toJoint = step => {
      const before = this.cursor ?? (step > 0 ? -1 : joints.length);
      this.cursor = (before + step + joints.length) % joints.length;
      this.tell(joints[this.cursor]);
      this.soon();
    };
    const keys = panel.keys?.() || {
      ArrowLeft: () => toFrame(-1),
      ArrowRight: () => toFrame(1),
      ArrowUp: () => toJoint(-1),
      ArrowDown: () => toJoint(1),
      Enter: () => (panel.click ? this.clicked(panel.click, { joint: this.cursor })
        : panel.brush && this.cover(panel, this.cursor)),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  // --- a page's stored answers

  // The answer whose controls are those of the state; of patches in the same frames the nearest,
  // which is then shown.
  answerTo(state, changed) {
    const last = state.brush?.at(-1);
    const apart = (a, b) => Math.hypot(...a.map((v, i) => v - b[i]));
    const far = ({ brush: [patch] = [] }) => (patch && last
      ? apart([...patch.points[0], patch.size], [...last.points[0], last.size]) : 0);
    const same = ([name, value]) => equal(value, state[name])
      || (name === "brush" && value.length && last && equal(value[0].frames, last.frames));
    const able = this.get("stored").filter(answer =>
      changed in answer.state && Object.entries(answer.state).every(same));
    const distance = able.map(answer => far(answer.state));
    return able[distance.indexOf(Math.min(...distance))];
  }

  // The answer to a state whose control `changed` was moved. Where none is stored, what was changed
  // before goes back, but for what the browser shows by itself.
  stored(state, changed) {
    return this.answerTo(state, changed)
      || this.answerTo({ ...this.first, [changed]: state[changed] }, changed);
  }

  lookUp(state, changed) {
    const answer = this.stored(state, changed);
    this.read(); // without an answer the control goes back
    if (!answer) return this.refuse();
    this.refusal.hidden = true;
    this.tell("");
    const own = this.get("controls").filter(({ needs }) => needs === LOCAL).map(c => c.name);
    const kept = Object.fromEntries(["tab", ...own].map(name => [name, state[name]]));
    const { attention = {}, ...shown } = answer;
    this.take(this.model, { ...shown, state: { ...this.first, ...kept, ...answer.state } });
    if (this.drag?.index > 0) this.drag.index = this.state.brush.length - 1;
    return this.take(this.child, attention);
  }

  has(name, value) {
    return this.get("live") || Boolean(this.stored({ ...this.state, [name]: value }, name));
  }

  // Values of a control that the page has an answer to.
  values({ name, kind, options }) {
    const own = [this.first, ...this.get("stored").map(({ state }) => state)]
      .filter(state => name in state).map(state => state[name]);
    const all = { choice: options, switch: [false, true], button: options }[kind] || own;
    return [...new Set(all)].filter(value => this.has(name, value));
  }

  // Controls with nothing stored are dim; menus offer what is stored.
  offer() {
    const asking = this.get("controls").filter(({ needs, name }) =>
      needs !== LOCAL && this.inputs[name]);
    this.offered = {};
    for (const control of asking) {
      const input = this.inputs[control.name];
      const values = this.values(control);
      const few = values.length < (control.kind === "button" ? 1 : 2);
      this.offered[control.name] = values.sort((a, b) => a - b);
      input.disabled = few;
      input.closest("label")?.classList.toggle("dim", few);
      for (const option of input.options || []) option.disabled = !values.includes(option.value);
      const range = input.type === "range" && !few;
      input.title = few ? "in JupyterLab" : range ? `in this page: ${values.map(number)}` : "";
    }
    const inSight = asking.map(({ name }) => this.inputs[name])
      .filter(input => !input.closest("details"));
    this.dimmed.hidden = inSight.every(input => !input.disabled);
  }

  // Of a slider's stored values the nearest; a key goes to the next one.
  nearest(name, value, keyed) {
    const stops = this.offered?.[name];
    if (!stops || stops.includes(value)) return value;
    const now = this.state[name];
    const ahead = stops.filter(stop => (value > now ? stop > now : stop < now));
    if (keyed) return (value > now ? ahead[0] : ahead.at(-1)) ?? now;
    return stops.reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));
  }

  take(model, values) {
    for (const [name, value] of Object.entries(values)) {
      if (["data", "other_data", "pictures"].includes(name)) model.setBytes(name, value);
      else model.set(name, value);
    }
  }

  // --- files

  drawing() {
    const boxes = this.canvases.map(canvas => canvas.getBoundingClientRect());
    const end = (most, side) => most(...boxes.map(box => box[side]));
    const [left, top] = [end(Math.min, "left"), end(Math.min, "top")];
    const [width, height] = [end(Math.max, "right") - left, end(Math.max, "bottom") - top];
    return [width, height, pen => {
      pen.rect(0, 0, width, height, { fill: this.tone.paper });
      boxes.forEach((box, i) => pen.frame(box.x - left, box.y - top, box.width, box.height, () =>
        drawPanel(pen, this.panels[i], box.width, box.height, this)));
    }];
  }

  rows() {
    if (this.panels === this.maps?.panels) return rowsOf(this.maps.shown, this.maps.kind);
    const head = ["panel", "series", "item", "x", "value"];
    return [head, ...this.panels.flatMap(panel => numbersOf(panel, this))];
  }

  permalink() {
    if (this.model === this.child) return JSON.stringify(this.maps.state());
    return JSON.stringify({ ...this.state, ...(this.maps && { attention: this.maps.state() }) });
  }

  code() {
    const text = this.permalink().replaceAll("\\", "\\\\").replaceAll("'", "\\'");
    return this.get("code").replace("{state}", () => `'${text}'`);
  }
}

// Draws what a model holds into an element; returns what takes it away again. In JupyterLab the
// attention view is a model of its own, in a page it is stored beside the explorer.
async function mount(model, el) {
  let child = model.get("maps") ? model : model.get("attention");
  if (typeof child === "string") {
    child = await model.widget_manager.get_model(child.replace("IPY_MODEL_", ""));
  }
  const kinds = { steps: Steps, prediction: Prediction };
  const explorer = new (kinds[model.get("view")] || Explorer)(model, el, child);
  return () => explorer.undo.forEach(undo => undo());
}
