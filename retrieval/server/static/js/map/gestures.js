// What hands do on the canvas: drag, pinch, turn the wheel, press, or draw a frame around pictures.

const PRESS = 6;
const WHEEL = 0.0018;

/** `on` is told `hover(x, y)`, `press(x, y)`, `frame([left, top, right, bottom])` and `framed(the same)`. */
export function startGestures(canvas, camera, { selecting, on }) {
  const down = new Map();
  let begun = null;
  let frame = null;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  const part = (one, other) => {
    const [left, top] = camera.toMap(Math.min(one.x, other.x), Math.min(one.y, other.y));
    const [right, bottom] = camera.toMap(Math.max(one.x, other.x), Math.max(one.y, other.y));
    return [left, top, right, bottom];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    const here = at(event);
    down.set(event.pointerId, here);
    camera.stop();
    on.hover(null);
    if (down.size > 1) {
      begun = frame = null;
      on.frame(null);
    } else {
      begun = here;
      frame = event.shiftKey || selecting() ? here : null;
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const here = at(event);
    const before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") on.hover(here.x, here.y);
      return;
    }
    if (down.size === 2) {
      const [still] = [...down].filter(([pointer]) => pointer !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.max(1, Math.hypot(place.x - still.x, place.y - still.y));
      camera.zoomBy(apart(here) / apart(before), (here.x + still.x) / 2, (here.y + still.y) / 2);
      camera.moveBy((here.x - before.x) / 2, (here.y - before.y) / 2);
    } else if (frame) {
      if (far(begun, here)) on.frame(part(frame, here));
    } else if (far(begun, here)) {
      canvas.classList.add("held");
      camera.moveBy(here.x - before.x, here.y - before.y);
    } else return;
    down.set(event.pointerId, here);
  });

  const far = (one, other) => {
    if (!one) return true;
    if (Math.hypot(other.x - one.x, other.y - one.y) <= PRESS) return false;
    begun = null;
    return true;
  };

  const ended = (event) => {
    if (!down.delete(event.pointerId)) return;
    canvas.classList.remove("held");
    const here = at(event);
    const [pressed, drawn] = [begun, frame];
    begun = frame = null;
    if (event.type === "pointercancel") on.frame(null);
    else if (pressed) on.press(here.x, here.y);
    else if (drawn) on.framed(part(drawn, here));
  };
  canvas.addEventListener("pointerup", ended);
  canvas.addEventListener("pointercancel", ended);
  canvas.addEventListener("pointerleave", () => on.hover(null));

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const here = at(event);
    const by = event.deltaY * (event.deltaMode === 1 ? 16 : 1) * (event.ctrlKey ? 4 : 1);
    camera.zoomBy(Math.exp(-Math.max(-200, Math.min(200, by)) * WHEEL), here.x, here.y);
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => event.preventDefault());
}
