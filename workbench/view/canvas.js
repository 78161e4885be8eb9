// A picture that comes as JPEG bytes; what the pointer draws goes back as strokes of [x, y], px of
// the picture.
function render({ model, el }) {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.className = "workbench-canvas";
  canvas.style.cssText = "max-width: 100%; touch-action: none; border-radius: 4px";
  let last = 0, drawing = false, waiting = false, strokes = [];
  const show = async () => {
    const turn = ++last;
    const jpeg = new Blob([model.get("picture")], { type: "image/jpeg" });
    const picture = await createImageBitmap(jpeg);
    if (turn !== last) return;
    if (canvas.width !== picture.width) canvas.width = picture.width;
    if (canvas.height !== picture.height) canvas.height = picture.height;
    context.drawImage(picture, 0, 0);
  };
  const send = () => {
    waiting = false;
    model.set("strokes", strokes.map(s => [...s]));
    model.save_changes();
  };
  const add = event => {
    const r = canvas.getBoundingClientRect();
    strokes.at(-1).push([(event.clientX - r.left) * canvas.width / r.width - 0.5,
                         (event.clientY - r.top) * canvas.height / r.height - 0.5]);
    if (!waiting) { waiting = true; requestAnimationFrame(send); }
  };
  if (model.get("paints")) {
    canvas.style.cursor = "crosshair";
    canvas.onpointerdown = event => {
      drawing = true; canvas.setPointerCapture(event.pointerId);
      strokes = [...model.get("strokes"), []]; add(event);
    };
    canvas.onpointermove = event => { if (drawing) add(event); };
    canvas.onpointerup = canvas.onpointercancel = () => { drawing = false; };
  }
  model.on("change:picture", show);
  el.appendChild(canvas);
  show();
  return () => model.off("change:picture", show);
}
export default { render };
