// The graph as it is cut into splits: a lane per device, a block per split, under it what each split copies in.

export default function (host, shared) {
  const {h, attr, num, mib, gib, swatch, canvas, veil, paint, hue, inkOn} = shared.kit,
    {state, axis, tip, colours, redraw} = shared;
  let graph = 'pp',
    dragging = null;
  const note = h('span', {class: 'note'}),
    labels = h('div'),
    lanes = h('canvas', {tabindex: '0', role: 'img'});
  const choose = h(
    'span',
    {class: 'seg', role: 'group', 'aria-label': 'Graph'},
    [
      ['pp', 'PP'],
      ['tg', 'TG'],
    ].map(([id, name]) =>
      h(
        'button',
        {
          'data-g': id,
          title: id === 'pp' ? 'Graph of a prompt pass' : 'Graph of one generated token',
          onclick: () => {
            graph = id;
            axis.hover = null;
            describe();
            redraw();
          },
        },
        name,
      ),
    ),
  );
  const tools = h(
    'span',
    {class: 'seg', role: 'group', 'aria-label': 'Zoom'},
    [
      ['\u2212', 'Zoom out', 1.8],
      ['fit', 'Fit', 0],
      ['+', 'Zoom in', 0.55],
    ].map(([sign, name, f]) => h('button', {'aria-label': name, onclick: () => axis.zoom(f)}, sign)),
  );
  host.append(
    h('div', {class: 'cap'}, h('h3', {}, 'Splits'), note, choose, tools),
    h('div', {class: 'axis'}, labels, lanes),
  );

  const wide = () => lanes.clientWidth > 900,
    pitch = () => (wide() ? 31 : 26),
    strip = () => (wide() ? 56 : 40);
  const list = () => state.splits[graph],
    devices = () => state.memory.devices;
  /** The pinned plan's splits with this plan's lane numbers, where all of its devices still exist. */
  function pinned() {
    const p = state.header.against && state.pinned && state.pinned.splits;
    if (!p) return null;
    const lane = state.pinned.devices.map(name => devices().findIndex(d => d.name === name));
    return lane.includes(-1) ? null : {d: p[graph].d.map(i => lane[i]), a: p[graph].a};
  }
  const boxOf = (a, w) => i => {
    const x0 = Math.round(axis.x(w, a[i]) * 2) / 2,
      x1 = Math.round(axis.x(w, a[i + 1]) * 2) / 2;
    return [x0, Math.max(1, x1 - x0 - (x1 - x0 > 3 ? 0.5 : 0))];
  };

  function draw() {
    const now = list(),
      devs = devices(),
      n = devs.length,
      P = pitch(),
      H = strip(),
      height = n * P + H + 14,
      [g, w] = canvas(lanes, height, shared.font());
    const near = w / axis.span() > 22,
      hy = n * P + 4,
      box = boxOf(now.a, w),
      cpu = devs.findIndex(d => d.host),
      MiB = 1048576;
    const big = Math.max(...now.bytes.map((b, i) => b + now.wbytes[i]), 0),
      tick = scale(big),
      max = Math.max(big, tick),
      ty = H - (tick / max) * (H - 4);
    names(devs, P, H, tick, ty);
    veil(g, w, hy + H, axis, colours);
    g.fillStyle = colours('--line');
    for (let i = 0; i < n; i++) g.fillRect(0, i * P + 7, w, 1);
    copies(g, w, now, box, near, P, cpu);
    blocks(g, w, now, box, near, P, devs);
    histogram(g, w, now, box, hy, H, max);
    const old = pinned();
    if (old) {
      g.fillStyle = colours('--ink3');
      const was = boxOf(old.a, w);
      old.d.forEach((d, i) => {
        const [x, ww] = was(i);
        if (x + ww >= 0 && x <= w) g.fillRect(x, d * P + 17, ww, 2.5);
      });
    }
    g.fillStyle = colours('--line2');
    g.fillRect(0, hy + H, w, 1);
    g.fillRect(0, Math.round(hy + ty), w, 1);
    if (!axis.whole()) {
      const a = ((axis.view[0] + axis.edge) / axis.full()) * w,
        b = ((axis.view[1] + axis.edge) / axis.full()) * w;
      g.fillStyle = colours('--line');
      g.fillRect(0, height - 3, w, 3);
      g.fillStyle = colours('--ink3');
      g.fillRect(a, height - 3, b - a, 3);
    }
    lanes.style.cursor = axis.whole() ? 'default' : dragging ? 'grabbing' : 'grab';
    function scale(bytes) {
      const k = 1024;
      return (
        [
          100,
          k,
          10 * k,
          100 * k,
          0.5 * MiB,
          MiB,
          2 * MiB,
          5 * MiB,
          10 * MiB,
          20 * MiB,
          50 * MiB,
          100 * MiB,
          200 * MiB,
          500 * MiB,
          1000 * MiB,
          5000 * MiB,
        ]
          .filter(t => t <= bytes)
          .pop() || k
      );
    }
  }
  function names(devs, P, H, tick, ty) {
    const sign = JSON.stringify([devs.map(d => [d.name, d.sim]), P, H, tick, Math.round(ty)]);
    if (labels.dataset.sign === sign) return;
    labels.dataset.sign = sign;
    labels.replaceChildren(
      ...devs.map(d =>
        h(
          'div',
          {class: 'lab lane', style: `height:${P}px;padding-bottom:${P - 15}px`},
          d.name,
          swatch(d),
          d.sim ? h('small', {}, 'simulated') : null,
        ),
      ),
      h(
        'div',
        {class: 'lab strip', style: `height:${H}px`},
        h(
          'span',
          {style: `top:${Math.min(H - 20, ty - 2)}px`},
          tick >= 102400 ? mib(tick).replace('.0', '') : `${num(tick / 1024)} KiB`,
        ),
        h('span', {style: 'bottom:-6px'}, 'copied in'),
      ),
    );
  }
  function copies(g, w, now, box, near, P, cpu) {
    // weights from the host; when near, hops of activations too
    now.d.forEach((d, i) => {
      const [x] = box(i);
      if (!i || x < -2 || x > w + 2) return;
      if (now.nw[i] && cpu >= 0) {
        g.strokeStyle = colours('--cpu-edge');
        g.lineWidth = near ? 2.5 : 1;
        g.globalAlpha = near ? 0.9 : 0.4;
        g.beginPath();
        g.moveTo(x + (near ? 3 : 0.5), cpu * P + 7);
        g.lineTo(x + (near ? 3 : 0.5), d * P + 14);
        g.stroke();
        g.globalAlpha = 1;
      }
      const from = now.d[i - 1];
      if (near && from !== d) {
        g.strokeStyle = colours('--ink3');
        g.lineWidth = 1;
        g.beginPath();
        g.moveTo(x - 0.5, from * P + 7);
        g.lineTo(x - 0.5, d * P + 7);
        g.stroke();
      }
    });
  }
  function blocks(g, w, now, box, near, P, devs) {
    const fills = devs.map(d => paint(g, d, colours)),
      open = devs.map(() => null); // per lane: a run of blocks too narrow to tell apart
    const put = (d, x, wide, borrowed) => {
      g.fillStyle = fills[d];
      g.globalAlpha = (borrowed ? 0.5 : 1) * (devs[d].sim ? 0.7 : 1);
      g.fillRect(x, d * P, wide, 14);
      g.globalAlpha = 1;
    };
    const close = d => {
      if (open[d]) put(d, open[d].x, open[d].end - open[d].x, open[d].borrowed);
      open[d] = null;
    };
    now.d.forEach((d, i) => {
      const [x, ww] = box(i);
      if (x + ww < 0 || x > w || d < 0) return;
      const borrowed = now.nw[i] > 0,
        last = open[d];
      if (ww < 1.5 && last && last.borrowed === borrowed && x - last.end < 1) last.end = Math.max(last.end, x + ww);
      else if (ww < 1.5) {
        close(d);
        open[d] = {x, end: x + ww, borrowed};
      } else {
        close(d);
        put(d, x, ww, borrowed);
        caption(g, now, i, x, ww, near, P, devs[d], borrowed);
      }
    });
    devs.forEach((_, d) => close(d));
    const s = axis.hover && axis.hover.s;
    if (s >= 0 && s < now.d.length) {
      const [x, ww] = box(s);
      g.strokeStyle = colours('--ink');
      g.lineWidth = 1.5;
      g.strokeRect(x - 1, now.d[s] * P - 1, ww + 2, 16);
    }
  }
  function caption(g, now, i, x, ww, near, P, device, borrowed) {
    if (!near || ww < 40 || borrowed) return;
    g.fillStyle = inkOn(g, colours(hue(device).name), device.sim ? 0.7 : 1, colours('--bg'));
    g.textAlign = 'left';
    const label = now.name[i].replace('ffn_moe_', '').replace('gate_par', 'up\u00b7gate');
    if (g.measureText(label).width < ww - 8) g.fillText(label, Math.max(x, 0) + 5, now.d[i] * P + 11);
  }
  function histogram(g, w, now, box, hy, H, max) {
    // maxima per pixel where splits are narrower than one
    const light = colours('--ghost'),
      dark = colours('--cpu-edge'),
      dense = now.d.length > w / 1.5,
      seen = dense ? new Float64Array(Math.ceil(w) + 1) : null;
    now.d.forEach((_, i) => {
      const [x, ww] = box(i),
        total = now.bytes[i] + now.wbytes[i];
      if (!total || x + ww < 0 || x > w) return;
      if (seen) {
        const at = Math.max(0, Math.round(x));
        if (total <= seen[at]) return;
        seen[at] = total;
      }
      const acts = now.bytes[i] ? Math.max(1, (now.bytes[i] / max) * (H - 4)) : 0,
        weights = now.wbytes[i] ? Math.max(1, (now.wbytes[i] / max) * (H - 4)) : 0;
      g.fillStyle = light;
      g.fillRect(x, hy + H - acts, ww, acts);
      g.fillStyle = dark;
      g.fillRect(x, hy + H - acts - weights, ww, weights);
    });
  }

  function words(i) {
    const now = list(),
      devs = devices(),
      d = now.d[i],
      plural = (k, word) => `${k} ${word}${k === 1 ? '' : 's'}`;
    let source = i - 1;
    while (source >= 0 && now.d[source] === d) source--;
    const lines = [
      [`Split ${i + 1} of ${now.d.length}, ${devs[d].name}${devs[d].sim ? ', simulated' : ''}`, 'b'],
      `${now.name[i]}, ${plural(now.n[i], 'node')}`,
    ];
    if (now.nin[i])
      lines.push(
        `${plural(now.nin[i], 'activation')}${source >= 0 ? ` from ${devs[now.d[source]].name}` : ''}, ${mib(now.bytes[i])}`,
      );
    if (now.nw[i]) lines.push(`${plural(now.nw[i], 'weight')} borrowed from the host, ${mib(now.wbytes[i])}`);
    const old = pinned(),
      was = old ? old.a.findIndex((a, k) => a <= now.a[i] + 1e-9 && old.a[k + 1] > now.a[i] + 1e-9) : -1;
    if (was >= 0 && old.d[was] !== d) lines.push([`pinned plan: ${devs[old.d[was]].name}`, 'mut']);
    return lines;
  }
  function at(e) {
    const frame = lanes.getBoundingClientRect(),
      u = axis.u(frame.width, e.clientX - frame.left),
      a = list().a;
    let s = -1;
    for (let i = 0; i < a.length - 1; i++)
      if (a[i] <= u && a[i + 1] > u) {
        s = i;
        break;
      }
    return {l: Math.floor(u), s};
  }
  lanes.addEventListener('pointerdown', e => {
    if (!axis.whole()) {
      dragging = {x: e.clientX, from: axis.view[0]};
      lanes.setPointerCapture(e.pointerId);
    }
  });
  lanes.addEventListener('pointermove', e => {
    if (dragging) axis.move(dragging.from - ((e.clientX - dragging.x) / lanes.clientWidth) * axis.span());
    const p = at(e);
    axis.point(p);
    tip.show(!dragging && p.s >= 0 ? words(p.s) : null, e);
  });
  for (const name of ['pointerup', 'pointercancel'])
    lanes.addEventListener(name, () => {
      dragging = null;
      redraw();
    });
  lanes.addEventListener('pointerleave', () => {
    tip.hide();
    axis.point(null);
  });
  lanes.addEventListener('blur', () => tip.hide());
  lanes.addEventListener('dblclick', () => axis.zoom(0));
  lanes.addEventListener(
    'wheel',
    e => {
      if (!e.ctrlKey && !e.metaKey) return;
      e.preventDefault();
      axis.zoom(e.deltaY > 0 ? 1.25 : 0.8, axis.u(lanes.clientWidth, e.clientX - lanes.getBoundingClientRect().left));
    },
    {passive: false},
  );
  lanes.addEventListener('keydown', e => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[e.key],
      now = list();
    if (e.key === 'Escape') {
      axis.point(null);
      tip.hide();
    } else if (e.key === '+' || e.key === '=') axis.zoom(0.55);
    else if (e.key === '-') axis.zoom(1.8);
    else if (e.key === '0') axis.zoom(0);
    else if (step && e.shiftKey) axis.pan((step * axis.span()) / 4);
    else if (step) {
      const s = axis.hover && axis.hover.s >= 0 ? Math.max(0, Math.min(now.d.length - 1, axis.hover.s + step)) : 0,
        l = Math.floor(now.a[s]);
      axis.reveal(l);
      axis.point({l, s});
      const lines = words(s),
        frame = lanes.getBoundingClientRect();
      tip.show(lines, {
        clientX: frame.left + Math.max(0, axis.x(frame.width, now.a[s])),
        clientY: frame.top + now.d[s] * pitch() + 8,
      });
      shared.say(lines.map(line => (Array.isArray(line) ? line[0] : line)).join('. '));
    } else return;
    e.preventDefault();
  });

  function describe() {
    const now = list(),
      old = pinned(),
      sum = xs => xs.reduce((a, b) => a + b, 0),
      acts = sum(now.bytes),
      weights = sum(now.wbytes);
    const grey = (name, value) => {
      const sq = h('span', {class: 'sq'});
      sq.style.setProperty('--c', `var(${name})`);
      return [sq, ` ${value}`];
    };
    const shown = [
      `${num(now.d.length)}${old && old.d.length !== now.d.length ? `, was ${num(old.d.length)}` : ''}; activations `,
      ...grey('--ghost', mib(acts)),
      ', weights ',
      ...grey('--cpu-edge', mib(weights)),
      weights ? '; paler: borrows host weights' : '',
      old ? '; thin line: pinned' : '',
    ];
    if (now.d.length === 1) note.replaceChildren('1, all on one device: nothing is copied');
    else note.replaceChildren(...shown);
    for (const b of choose.children) attr(b, 'aria-pressed', b.dataset.g === graph);
    attr(
      lanes,
      'aria-label',
      `${now.d.length} splits over ${devices().length} devices; ${gib(weights)} GiB of weights and ${gib(acts)} GiB of activations copied. Arrow keys move, plus and minus zoom.`,
    );
  }
  return {
    update(changed) {
      if (['splits', 'memory', 'pinned', 'header'].some(name => changed.has(name))) describe();
    },
    draw,
  };
}
