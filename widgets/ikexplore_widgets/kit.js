// What the parts of the panel share: building elements, numbers, the tip, messages and the layer axis.
// Text that comes from a model or from a person is only ever set as text, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attrs, children) {
  for (const [key, value] of Object.entries(attrs || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}

// What takes keys keeps them: without this mark JupyterLab reads a key on a button as a command for the cell.
const KEYS = new Set(['BUTTON', 'INPUT', 'SELECT', 'TEXTAREA', 'CANVAS']);
/** An HTML element; children are nodes or plain text. */
export function h(tag, attrs, ...children) {
  const node = fill(document.createElement(tag), attrs, children);
  if (KEYS.has(node.tagName)) node.setAttribute('data-lm-suppress-shortcuts', 'true');
  return node;
}
/** An SVG element. */
export const s = (tag, attrs, ...children) => fill(document.createElementNS(SVG, tag), attrs, children);

/** Set text only where it changes, so that nothing flickers and selections stay. */
export function text(node, value) {
  const wanted = String(value ?? '');
  if (node.textContent !== wanted) node.textContent = wanted;
}
export function attr(node, name, value) {
  if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

const MiB = 1048576;
const MINUS = '\u2212',
  THIN = '\u202f';
export const num = x =>
  (x < 0 ? MINUS : '') +
  Math.abs(Math.round(x))
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, THIN);
export const gib = bytes => (bytes ? (bytes / 1024 / MiB).toFixed(1) : '0');
/** Bytes in MiB, with three figures or so; below 0.1 MiB in KiB. */
export function mib(bytes) {
  const m = bytes / MiB;
  if (!bytes) return '0 MiB';
  if (m < 0.1) return `${(m * 1024).toFixed(1)} KiB`;
  return `${m >= 100 ? num(m) : m.toFixed(1)} MiB`;
}
/** MiB as a figure for bars: whole above 100, one decimal below. */
export const figure = m => (m >= 100 || m === 0 ? num(m) : m >= 0.05 ? m.toFixed(1) : '< 0.1');
export const rate = v => (v >= 100 ? num(v) : v >= 10 ? v.toFixed(1) : v.toFixed(2));
export function pct(a, b) {
  const p = Math.round((a / b - 1) * 100);
  return `${p < 0 ? MINUS : '+'}${Math.abs(p)}${THIN}%`;
}

const HUES = 6;
/** Colour variable of a device and whether its hue is a repeated one. */
export function hue(device) {
  const match = /^CUDA(\d+)$/.exec(device.name);
  return match ? {name: `--d${match[1] % HUES}`, hatch: match[1] >= HUES} : {name: '--cpu', hatch: false};
}
/** The little square that stands for a device beside its name. */
export function swatch(device) {
  const node = h('span', {class: 'sq', 'aria-hidden': 'true'});
  if (!device) {
    node.style.setProperty('--c', 'transparent');
    return node;
  }
  const {name, hatch} = hue(device);
  node.style.setProperty('--c', `var(${name})`);
  if (device.host) node.classList.add('host');
  if (device.sim) node.classList.add('sim');
  if (hatch) node.classList.add('hatch');
  return node;
}

/** Messages to the kernel: the first change of settings goes at once, more of them are merged to one every 50 ms. */
export function makePost(model, gone) {
  let patch = {},
    timer = 0,
    last = -1000,
    seq = 0;
  const give = content => {
    try {
      model.send(content);
    } catch {
      gone(); // the kernel was restarted or shut down: nobody listens
    }
  };
  const flush = () => {
    clearTimeout(timer);
    timer = 0;
    if (!Object.keys(patch).length) return;
    const values = patch;
    patch = {};
    last = performance.now();
    give({kind: 'set', seq, values});
  };
  return {
    set(values) {
      Object.assign(patch, values);
      seq += 1;
      if (!timer) timer = setTimeout(flush, Math.max(0, last + 50 - performance.now()));
    },
    send(kind, values = {}) {
      flush();
      seq += 1;
      give({kind, seq, ...values});
    },
    /** Number of the last change that was made here; a state that is older does not know of it yet. */
    seq: () => seq,
    dispose() {
      flush();
    },
  };
}

/** One tip for the whole panel; lines are strings or [text, class]. */
export function makeTip(root) {
  const box = h('div', {class: 'tip', role: 'tooltip'});
  root.append(box);
  return {
    show(lines, at) {
      if (!lines || !lines.length) {
        box.style.display = 'none';
        return;
      }
      box.replaceChildren(
        ...lines.map(line => {
          const [value, cls] = Array.isArray(line) ? line : [line, ''];
          return h('div', {class: cls}, value);
        }),
      );
      box.style.display = 'block';
      const frame = root.getBoundingClientRect(),
        w = box.offsetWidth,
        t = box.offsetHeight;
      const x = at.clientX - frame.left + 14,
        y = at.clientY - frame.top + 16;
      box.style.left = `${Math.max(4, Math.min(frame.width - w - 8, x))}px`;
      box.style.top = `${at.clientY + t + 28 > innerHeight || y + t > frame.height - 4 ? y - t - 28 : y}px`;
    },
    hide() {
      box.style.display = 'none';
    },
  };
}

/** Offer a file that the kernel made; a PNG is drawn from its SVG, twice as sharp. */
export async function saveFile(file) {
  let blob = new Blob([file.text], {type: file.mime});
  if (file.as === 'png') {
    const address = URL.createObjectURL(blob);
    try {
      const image = new Image();
      image.src = address;
      await image.decode();
      const sheet = document.createElement('canvas');
      sheet.width = image.naturalWidth * 2;
      sheet.height = image.naturalHeight * 2;
      sheet.getContext('2d').drawImage(image, 0, 0, sheet.width, sheet.height);
      blob = await new Promise(done => sheet.toBlob(done, 'image/png'));
    } finally {
      URL.revokeObjectURL(address);
    }
  }
  const address = URL.createObjectURL(blob),
    link = h('a', {href: address, download: file.name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** A canvas ready to draw on in CSS pixels, sharp on any display. */
export function canvas(node, height, font) {
  const w = node.clientWidth,
    r = devicePixelRatio || 1;
  const wide = Math.max(1, Math.round(w * r)),
    tall = Math.max(1, Math.round(height * r));
  if (node.width !== wide || node.height !== tall) {
    node.width = wide;
    node.height = tall;
  }
  node.style.height = `${height}px`;
  const g = node.getContext('2d');
  g.setTransform(r, 0, 0, r, 0, 0);
  g.clearRect(0, 0, w, height);
  g.font = `11px ${font}`;
  return [g, w];
}

/** The layer axis: what is seen of it, where the cursor is and which layers are chosen. Shared by map and lanes. */
export function makeAxis(changed) {
  const axis = {
    layers: 1,
    edge: 1,
    view: [-1, 2],
    hover: null,
    sel: null,
    reset(layers, edge) {
      if (axis.layers === layers && axis.edge === edge && axis.ready) return;
      Object.assign(axis, {layers, edge, hover: null, sel: null, ready: true, view: [-edge, layers + edge]});
    },
    full: () => axis.layers + 2 * axis.edge,
    span: () => axis.view[1] - axis.view[0],
    whole: () => axis.span() > axis.full() - 1e-6,
    x: (w, u) => ((u - axis.view[0]) / axis.span()) * w,
    u: (w, x) => axis.view[0] + (x / w) * axis.span(),
    zoom(factor, at) {
      if (!factor) axis.view = [-axis.edge, axis.layers + axis.edge];
      else {
        const c = at ?? (axis.hover ? axis.hover.l + 0.5 : (axis.view[0] + axis.view[1]) / 2);
        const span = Math.min(axis.full(), Math.max(Math.min(3, axis.full()), axis.span() * factor));
        axis.move(c - ((c - axis.view[0]) * span) / axis.span(), span);
      }
      changed();
    },
    move(a, span = axis.span()) {
      const low = Math.max(-axis.edge, Math.min(axis.layers + axis.edge - span, a));
      axis.view = [low, low + span];
    },
    pan(du) {
      axis.move(axis.view[0] + du);
      changed();
    },
    reveal(l) {
      if (l < axis.view[0] || l + 1 > axis.view[1]) axis.move(l - axis.span() / 2);
    },
    point(hover) {
      axis.hover = hover;
      changed();
    },
    choose(sel) {
      axis.sel = sel;
      changed();
    },
  };
  return axis;
}

/** Layer numbers under the tensor map, as many as fit. */
export function ticks(g, w, y, axis, ink) {
  const per = w / axis.span(),
    step = [1, 2, 5, 10, 20, 50].find(k => k * per > 44) || 100;
  g.fillStyle = ink;
  g.textAlign = 'center';
  const left = axis.view[0] <= -axis.edge + 1e-6,
    right = axis.view[1] >= axis.layers + axis.edge - 1e-6;
  for (let l = 0; l < axis.layers; l += step) {
    const x = axis.x(w, l + 0.5);
    if (x > (left ? 34 : 8) && x < w - (right ? 28 : 8)) g.fillText(l, x, y);
  }
  if (left) {
    g.textAlign = 'left';
    g.fillText('emb', 0, y);
  }
  if (right) {
    g.textAlign = 'right';
    g.fillText('out', w, y);
  }
}

/** The band of the chosen layers and of the layer under the cursor. */
export function veil(g, w, height, axis, colours) {
  const band = (a, b, c) => {
    g.fillStyle = c;
    g.fillRect(axis.x(w, a), 0, axis.x(w, b) - axis.x(w, a), height);
  };
  if (axis.sel) band(axis.sel[0], axis.sel[1] + 1, colours('--band'));
  if (axis.hover && axis.hover.l >= 0 && axis.hover.l < axis.layers)
    band(axis.hover.l, axis.hover.l + 1, colours('--veil'));
}

/** Fill style of a device: its hue, hatched where the hue repeats. */
export function paint(g, device, colours) {
  const {name, hatch} = hue(device);
  if (!hatch) return colours(name);
  const tile = document.createElement('canvas');
  tile.width = tile.height = 6;
  const t = tile.getContext('2d');
  t.fillStyle = colours(name);
  t.fillRect(0, 0, 6, 6);
  t.strokeStyle = colours('--bg');
  t.lineWidth = 1.2;
  t.beginPath();
  t.moveTo(-1, 1);
  t.lineTo(1, -1);
  t.moveTo(0, 6);
  t.lineTo(6, 0);
  t.moveTo(5, 7);
  t.lineTo(7, 5);
  t.stroke();
  return g.createPattern(tile, 'repeat');
}

/** Black or white, whichever reads better on a colour that lies over a ground with this strength. */
export function inkOn(g, colour, strength, ground) {
  const parts = value => {
    g.fillStyle = '#888888';
    g.fillStyle = value; // a canvas answers with #rrggbb, or rgba() where the colour is not solid
    const hex = /^#(..)(..)(..)$/.exec(g.fillStyle);
    return hex ? hex.slice(1).map(h => parseInt(h, 16)) : [136, 136, 136];
  };
  const over = parts(colour),
    under = parts(ground);
  const light = over.map((c, i) => ((c * strength + under[i] * (1 - strength)) / 255) ** 2.2);
  return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.2 ? '#1b1d20' : '#ffffff';
}
