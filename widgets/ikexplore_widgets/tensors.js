// All tensors, layer by role: colour is the device, height is size, stripes are run-time repacked.
// Drag over layers (or Enter) to choose them; a strip then offers each device with the room it would have left.

const EXPERT = /_exps$/,
  DENSE = /^ffn_(gate|up|down)$/;

export default function (host, shared) {
  const {h, text, attr, num, mib, figure, swatch, canvas, ticks, veil, paint, hue} = shared.kit,
    {state, axis, tip, post, colours} = shared;
  const note = h('span', {class: 'note'}),
    labels = h('div'),
    map = h('canvas', {tabindex: '0', role: 'img'}),
    strip = h('div');
  host.append(h('div', {class: 'cap'}, h('h3', {}, 'Tensors'), note), h('div', {class: 'axis'}, labels, map), strip);
  let grid = [],
    heads = [],
    limits = [0, 0],
    down = null;
  const pitch = () => (map.clientWidth > 900 && state.about.roles.length <= 16 ? 14 : 12);
  const moves = () => state.memory.devices.length > 1;

  function index() {
    // layer -> role -> tensor; and the two columns at the ends
    const {tensors, roles, n_layer} = state.about;
    grid = Array.from({length: n_layer}, () => new Array(roles.length).fill(-1));
    heads = [-1, -1];
    let largest = 1;
    tensors.name.forEach((_, i) => {
      const l = tensors.layer[i],
        r = tensors.role[i],
        bytes = tensors.bytes[i];
      if (r >= 0 && l >= 0 && l < n_layer) {
        grid[l][r] = i;
        largest = Math.max(largest, bytes);
        return;
      }
      const end = l < 0 ? 0 : 1;
      if (heads[end] < 0 || tensors.bytes[heads[end]] < bytes) heads[end] = i;
    });
    limits = [largest / 100, largest * 0.16];
  }
  const tall = bytes => (bytes < limits[0] ? 3 : bytes < limits[1] ? 7 : pitch() - 2);

  function draw() {
    const {about, tensors, memory} = state,
      rolesN = about.roles.length,
      p = pitch(),
      height = rolesN * p + 20,
      [g, w] = canvas(map, height, shared.font());
    if (labels.dataset.pitch !== `${p} ${rolesN} ${about.id}`) {
      labels.dataset.pitch = `${p} ${rolesN} ${about.id}`;
      labels.replaceChildren(
        ...about.roles.map(role => h('div', {class: 'lab', style: `line-height:${p}px`, title: role}, role)),
      );
    }
    veil(g, w, rolesN * p, axis, colours);
    const fills = memory.devices.map(d => paint(g, d, colours)),
      stripe = colours('--stripe'),
      per = w / axis.span();
    const cell = (i, u0, u1, y, tallness, gap) => {
      const x = Math.round(axis.x(w, u0)),
        wide = Math.max(1, Math.round(axis.x(w, u1)) - x - gap),
        device = memory.devices[tensors.at[i]];
      if (x + wide < 0 || x > w || !device) return;
      g.fillStyle = fills[tensors.at[i]];
      g.globalAlpha = device.sim ? 0.7 : 1;
      g.fillRect(x, y, wide, tallness);
      g.globalAlpha = 1;
      if (tensors.repacked[i]) {
        g.fillStyle = stripe;
        for (let k = tallness > 3 ? 2 : 1; k < tallness; k += 3) g.fillRect(x, y + k, wide, 1);
      }
      if (axis.hover && axis.hover.i === i) {
        g.strokeStyle = colours('--ink');
        g.lineWidth = 1.5;
        g.strokeRect(x - 1, y - 1, wide + 2, tallness + 2);
      }
    };
    grid.forEach((column, l) =>
      column.forEach((i, r) => {
        if (i < 0) return;
        const size = tall(about.tensors.bytes[i]),
          large = size > 7;
        cell(i, l, l + 1, r * p + Math.round((p - size) / 2), size, per > 16 || (large && per > 5) ? 1 : 0);
      }),
    );
    const whole = rolesN * p - 2;
    if (heads[0] >= 0) cell(heads[0], -axis.edge, 0, 1, whole, 1);
    if (heads[1] >= 0) cell(heads[1], axis.layers, axis.layers + axis.edge, 1, whole, 0);
    ticks(g, w, height - 5, axis, colours('--ink2'));
    map.style.cursor = moves() ? 'crosshair' : 'default';
    offer();
  }

  function words(i) {
    const {about, tensors, memory} = state,
      t = about.tensors,
      device = memory.devices[tensors.at[i]],
      fresh = tensors.repacked[i];
    return [
      [t.name[i], 'b mono'],
      `${t.type[i]}${fresh ? `, repacked to ${fresh}` : ''}, ${t.shape[i]}, ${mib(t.bytes[i])}`,
      `on ${device.name}${device.sim ? ', simulated' : ''}: ${tensors.reasons[tensors.why[i]]}`,
    ];
  }
  function at(e) {
    const frame = map.getBoundingClientRect(),
      u = axis.u(frame.width, e.clientX - frame.left),
      l = Math.floor(u),
      n = state.about.roles.length,
      r = Math.floor((e.clientY - frame.top) / pitch());
    if (r >= n) return null;
    if (u < 0) return {l: -1, i: heads[0]};
    if (l >= axis.layers) return {l: axis.layers, i: heads[1]};
    return {l, r, i: grid[l][Math.max(0, r)]};
  }
  const inside = l => Math.max(0, Math.min(axis.layers - 1, l));

  map.addEventListener('pointerdown', e => {
    const p = at(e);
    down = p && moves() ? inside(p.l) : null;
    if (down !== null) map.setPointerCapture(e.pointerId);
  });
  map.addEventListener('pointermove', e => {
    const p = at(e);
    if (down !== null && p) {
      const l = inside(p.l);
      axis.sel = [Math.min(down, l), Math.max(down, l)];
    }
    axis.point(p);
    tip.show(p && p.i >= 0 && down === null ? words(p.i) : null, e);
  });
  map.addEventListener('pointerup', () => {
    down = null;
  });
  map.addEventListener('pointercancel', () => {
    down = null;
  });
  map.addEventListener('pointerleave', () => {
    tip.hide();
    axis.point(null);
  });
  map.addEventListener('dblclick', () => {
    axis.sel = null;
    axis.zoom(0);
  });
  map.addEventListener(
    'wheel',
    e => {
      if (!e.ctrlKey && !e.metaKey) return;
      e.preventDefault();
      axis.zoom(e.deltaY > 0 ? 1.25 : 0.8, axis.u(map.clientWidth, e.clientX - map.getBoundingClientRect().left));
    },
    {passive: false},
  );
  map.addEventListener('blur', () => {
    tip.hide();
  });
  map.addEventListener('keydown', e => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[e.key],
      n = state.about.roles.length;
    const here = axis.hover && axis.hover.r !== undefined ? axis.hover : {l: 0, r: n - 1, first: true};
    if (e.key === 'Escape') {
      axis.sel = null;
      axis.point(null);
      tip.hide();
    } else if (e.key === 'Enter' && moves()) {
      axis.choose([inside(here.l), inside(here.l)]);
      requestAnimationFrame(() => {
        const b = strip.querySelector('button');
        if (b) b.focus({preventScroll: true});
      });
    } else if (e.key === '+' || e.key === '=') axis.zoom(0.55);
    else if (e.key === '-') axis.zoom(1.8);
    else if (e.key === '0') axis.zoom(0);
    else if (step && e.shiftKey) axis.pan((step[0] * axis.span()) / 4);
    else if (step) {
      const l = here.first ? 0 : inside(here.l + step[0]),
        r = here.first ? here.r : Math.max(0, Math.min(n - 1, here.r + step[1]));
      axis.reveal(l);
      axis.point({l, r, i: grid[l][r]});
      const lines = grid[l][r] >= 0 ? words(grid[l][r]) : [`layer ${l} has no ${state.about.roles[r]}`],
        frame = map.getBoundingClientRect();
      tip.show(lines, {clientX: frame.left + axis.x(frame.width, l + 0.5), clientY: frame.top + (r + 0.5) * pitch()});
      shared.say(lines.map(line => (Array.isArray(line) ? line[0] : line)).join('. '));
    } else return;
    e.preventDefault();
  });

  function offer() {
    // the strip under the map; rebuilt only when the choice or the plan changes
    const sel = axis.sel,
      sign = sel ? JSON.stringify([sel, state.memory.seq, map.clientWidth]) : '';
    if (strip.dataset.sign === sign) return;
    strip.dataset.sign = sign;
    strip.replaceChildren();
    if (!sel || down !== null) {
      strip.dataset.sign = sel ? 'dragging' : '';
      if (!sel) return;
    }
    const {about, tensors, memory} = state,
      experts = about.roles.some(r => EXPERT.test(r)),
      wanted = experts ? EXPERT : DENSE;
    const chosen = [];
    for (let l = sel[0]; l <= sel[1]; l++)
      grid[l].forEach((i, r) => {
        if (i >= 0 && wanted.test(about.roles[r])) chosen.push(i);
      });
    const bytes = chosen.reduce((sum, i) => sum + about.tensors.bytes[i], 0),
      where = sel[0] === sel[1] ? `layer ${sel[0]}` : `layers ${sel[0]}\u2013${sel[1]}`;
    const box = h(
      'div',
      {
        class: 'assign',
        role: 'group',
        'aria-label': `Move the ${experts ? 'experts' : 'feed-forward weights'} of ${where}`,
      },
      h('span', {}, `${experts ? 'Experts' : 'Feed-forward'} of ${where}, ${mib(bytes)} to`),
    );
    memory.devices.forEach((device, d) => {
      const add = chosen.filter(i => tensors.at[i] !== d).reduce((sum, i) => sum + about.tensors.bytes[i], 0) / 1048576;
      const room = device.cap ? device.cap - device.model - device.kv - device.compute - add : null;
      box.append(
        h(
          'button',
          {
            class: 'to',
            onclick: () => {
              post.send('assign', {first: sel[0], last: sel[1], device: device.name});
              axis.choose(null);
              map.focus({preventScroll: true});
            },
          },
          h('span', {}, swatch(device), ` ${device.name}`),
          h(
            'small',
            {class: room !== null && room < 0 ? 'bad' : ''},
            room === null ? (device.host ? 'host' : '') : room < 0 ? `over ${figure(-room)}` : `${figure(room)} left`,
          ),
        ),
      );
    });
    box.append(h('button', {class: 'x', 'aria-label': 'Cancel', onclick: () => axis.choose(null)}, '\u00d7'));
    box.addEventListener('keydown', e => {
      if (e.key === 'Escape') {
        axis.choose(null);
        map.focus({preventScroll: true});
      }
    });
    strip.append(box);
    box.style.top = `${about.roles.length * pitch() + 58}px`;
    box.style.left = `${Math.max(0, Math.min(host.clientWidth - box.offsetWidth, map.offsetLeft + axis.x(map.clientWidth, sel[0])))}px`;
  }

  return {
    update(changed) {
      if (changed.has('about')) index();
      if (!changed.has('tensors') && !changed.has('about')) return;
      text(
        note,
        `layer \u00d7 role, coloured by device, height by size${Object.keys(state.tensors.repacked).length ? ', stripes: repacked' : ''}`,
      );
      attr(
        map,
        'aria-label',
        `Tensor map, ${num(state.about.tensors.name.length)} tensors. ${state.tensors.summary} Arrow keys move, Enter chooses a layer.`,
      );
    },
    draw() {
      if (grid.length === state.about.n_layer) draw();
    },
  };
}
