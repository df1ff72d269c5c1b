// PP and TG against the tokens in the cache. Measured: a line with discs that appear as they are timed; earlier runs stay,
// pale. Forecast: a band and a dotted line without marks, of the rig; the two never look alike.

const CHARTS = [
  ['pp', 3, 'Prompt S_PP'],
  ['tg', 4, 'Generation S_TG'],
]; // rows: [n_kv, pp, tg, s_pp, s_tg]
const FAR = 3; // a forecast this many times above all that is measured would press it flat: then it is told, not drawn

export default function (host, shared) {
  const {h, s, text, attr, num, rate} = shared.kit,
    {state, tip, post} = shared;
  const note = h('span', {class: 'note'}),
    clear = h('button', {class: 'link sm clear', hidden: true, onclick: () => post.send('clear')}, 'clear earlier');
  const where = h('button', {
    class: 'link sm ask',
    hidden: true,
    onclick: () => post.send('show', {name: 'where', on: !state.throughput.forecast.open}),
  });
  const svgs = Object.fromEntries(CHARTS.map(([id]) => [id, s('svg', {role: 'img', class: id})]));
  const key = h('div', {class: 'key'}),
    table = h('table', {class: 'runs'});
  host.append(
    h('div', {class: 'cap'}, h('h3', {}, 'Throughput'), note, where, clear),
    h('div', {class: 'charts'}, svgs.pp, svgs.tg),
    key,
    shared.nodes.where,
    table,
  );

  /** A forecast rate, with no more than three figures. */
  const about = v => (v >= 9995 ? `${Number((v / 1000).toPrecision(3))}k` : rate(Number(v.toPrecision(3))));
  /** A step of 1, 2 or 5 times a power of ten that gives at most `most` of them below the value. */
  function nice(value, most) {
    const rough = Math.max(value, 1e-9) / most,
      power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map(k => k * power).find(k => k >= rough);
  }
  const short = n => (n >= 1024 && n % 512 === 0 ? `${n / 1024}k` : num(n));
  const nearest = (run, n) =>
    run.rows.reduce((best, row) => (!best || Math.abs(row[0] - n) < Math.abs(best[0] - n) ? row : best), null);

  function chart([id, column, name], runs, live) {
    const svg = svgs[id],
      W = svg.clientWidth || 260,
      H = W > 380 ? 190 : 172,
      right = 12,
      top = 22,
      bottom = 22;
    let most = Math.max(
      ...runs.flatMap(r => r.rows.map(row => row[column])),
      live && live.phase === id ? live.rate : 0,
      0,
    );
    const made = state.throughput.forecast.now,
      above = made && most > 0 && Math.min(...made[`s_${id}_low`]) > FAR * most,
      drawn = above ? null : made;
    if (drawn) most = Math.max(most, ...drawn[`s_${id}_high`]);
    const step = most ? nice(most, 4) : 1,
      high = most ? Math.ceil(most / step) * step : 1;
    const widest = num(high).length,
      left = Math.max(28, 10 + 7 * widest);
    const reach = Math.max(state.throughput.ctx, 1),
      wide = 2 ** Math.ceil(Math.log2(Math.max(reach / 4.01, 1)));
    const x = n => left + (W - left - right) * Math.min(1, n / reach),
      y = v => top + (H - top - bottom) * (1 - v / high);
    const path = rows =>
      rows.map((row, i) => `${i ? 'L' : 'M'}${x(row[0]).toFixed(1)} ${y(row[column]).toFixed(1)}`).join('');
    const parts = [s('text', {x: 0, y: 11, class: 'k'}, `${name}, t/s`)];
    for (let v = 0; v <= high + step / 2; v += step) {
      parts.push(s('line', {x1: left, x2: W - right, y1: y(v), y2: y(v), stroke: v ? 'var(--line)' : 'var(--line2)'}));
      if (most || !v)
        parts.push(s('text', {x: left - 6, y: y(v) + 4, 'text-anchor': 'end'}, step < 1 ? v.toFixed(1) : num(v)));
    }
    for (let n = 0; n <= reach; n += wide)
      parts.push(
        s('text', {x: x(n), y: H - 6, 'text-anchor': n + wide > reach && n > reach * 0.9 ? 'end' : 'middle'}, short(n)),
      );
    if (drawn) forecast(parts, svg, drawn, id, x, y, reach, left, W - left - right);
    const was = state.throughput.forecast.pinned;
    if (drawn && was)
      parts.push(
        s('path', {
          d: line(was, `s_${id}`, x, v => y(Math.min(v, high))),
          fill: 'none',
          stroke: 'var(--ink3)',
          'stroke-width': 1.25,
          'stroke-dasharray': '1 3',
        }),
      );
    if (above) {
      const at = {x: W - right, y: 11, 'text-anchor': 'end'},
        words = `${W > 300 ? 'forecast ' : ''}\u2248 ${about(made[`s_${id}`][0])} \u2191`;
      parts.push(s('text', at, s('title', {}, 'The forecast lies above this chart'), words));
    }
    const says = (run, row) => ({
      onpointermove: e =>
        tip.show(
          words(
            run,
            row || nearest(run, ((e.clientX - svg.getBoundingClientRect().left - left) / (W - left - right)) * reach),
          ),
          e,
        ),
      onpointerleave: () => tip.hide(),
    });
    const order = {earlier: 0, pinned: 1, now: 2},
      sorted = [...runs].sort((a, b) => order[a.kind] - order[b.kind]);
    for (const run of sorted) {
      if (!run.rows.length) continue;
      const look = {now: ['var(--ink)', 1.5, 1], pinned: ['var(--ink3)', 1.25, 1], earlier: ['var(--ghost)', 1, 0.7]}[
        run.kind
      ];
      parts.push(
        s('path', {
          d: path(run.rows),
          fill: 'none',
          stroke: look[0],
          'stroke-width': look[1],
          'stroke-opacity': look[2],
        }),
      );
      parts.push(
        s('path', {
          d: path(run.rows),
          fill: 'none',
          stroke: 'transparent',
          'stroke-width': 9,
          'pointer-events': 'stroke',
          ...says(run),
        }),
      );
      for (const row of run.rows) {
        if (run.kind === 'now')
          parts.push(s('circle', {cx: x(row[0]), cy: y(row[column]), r: 3.25, fill: 'var(--ink)', ...says(run, row)}));
        else if (run.kind === 'pinned')
          parts.push(
            s('circle', {
              cx: x(row[0]),
              cy: y(row[column]),
              r: 2.75,
              fill: 'var(--bg)',
              stroke: 'var(--ink3)',
              'stroke-width': 1.25,
              ...says(run, row),
            }),
          );
        else if (run.rows.length === 1)
          parts.push(s('circle', {cx: x(row[0]), cy: y(row[column]), r: 2, fill: 'var(--ghost)', ...says(run, row)}));
      }
    }
    const now = runs.find(r => r.kind === 'now' && r.rows.length),
      pinned = runs.find(r => r.kind === 'pinned' && r.rows.length);
    if (now && pinned) {
      const above = pinned.rows[0][column] > now.rows[0][column];
      for (const [run, word, dy, cls] of [
        [now, 'now', above ? 16 : -9, 'halo k'],
        [pinned, 'pinned', above ? -9 : 16, 'halo'],
      ]) {
        const last = run.rows[run.rows.length - 1];
        parts.push(
          s(
            'text',
            {
              x: Math.max(left + 14, Math.min(W - right - 18, x(last[0]))),
              y: Math.max(top + 8, Math.min(H - bottom - 4, y(last[column]) + dy)),
              'text-anchor': 'middle',
              class: cls,
            },
            word,
          ),
        );
      }
    }
    if (live && live.phase === id && live.rate > 0) {
      parts.push(
        s('circle', {
          cx: x(live.n_kv),
          cy: y(live.rate),
          r: 3.25,
          fill: 'none',
          stroke: 'var(--ink)',
          'stroke-width': 1.25,
          'stroke-dasharray': '2 2',
        }),
      );
    }
    if (!now && state.throughput.empty)
      parts.push(
        s(
          'text',
          {x: left + (W - left - right) / 2, y: y(high * 0.12), 'text-anchor': 'middle', class: 'halo'},
          state.throughput.empty,
        ),
      );
    host.dataset[`above${id}`] = above ? 1 : '';
    svg.setAttribute('height', H);
    svg.replaceChildren(...parts);
    const told = now
      ? `${now.rows.length} measured points, ${rate(now.rows[0][column])} tokens a second at ${now.rows[0][0]}`
      : state.throughput.empty || 'nothing measured';
    const curve = made && made[`s_${id}`],
      ahead = made ? `; forecast ${about(curve[0])} at 0, ${about(curve.at(-1))} at ${made.n_kv.at(-1)}` : '';
    attr(svg, 'aria-label', `${name} against N_KV, ${told}${ahead}`);
  }
  const line = (f, name, x, y) =>
    f.n_kv.map((n, i) => `${i ? 'L' : 'M'}${x(n).toFixed(1)} ${y(f[name][i]).toFixed(1)}`).join('');
  function forecast(parts, svg, f, id, x, y, reach, left, wide) {
    const name = `s_${id}`,
      back = f.n_kv
        .map((n, i) => `L${x(n).toFixed(1)} ${y(f[`${name}_low`][i]).toFixed(1)}`)
        .reverse()
        .join('');
    const tell = {
      onpointermove: e => {
        const n = ((e.clientX - svg.getBoundingClientRect().left - left) / wide) * reach,
          i = f.n_kv.reduce((best, at, k) => (Math.abs(at - n) < Math.abs(f.n_kv[best] - n) ? k : best), 0);
        tip.show(
          [
            ['Forecast, not measured', 'b'],
            `${id.toUpperCase()} \u2248 ${about(f[name][i])} t/s at N_KV ${num(f.n_kv[i])}`,
            [`80 % within ${about(f[`${name}_low`][i])}\u2013${about(f[`${name}_high`][i])}`, 'mut'],
          ],
          e,
        );
      },
      onpointerleave: () => tip.hide(),
    };
    if (f.n_kv.length > 1) {
      parts.push(
        s('path', {class: 'fc band', d: `${line(f, `${name}_high`, x, y)}${back}Z`, fill: 'var(--band)', ...tell}),
      );
      parts.push(
        s('path', {
          class: 'fc',
          d: line(f, name, x, y),
          fill: 'none',
          stroke: 'var(--ink2)',
          'stroke-width': 1.5,
          'stroke-dasharray': '1 3',
          'pointer-events': 'none',
        }),
      );
      return;
    }
    const at = x(f.n_kv[0]); // one length of context: a bar as wide as a mark would be
    parts.push(
      s('rect', {
        class: 'fc band',
        x: at - 4,
        width: 8,
        y: y(f[`${name}_high`][0]),
        height: y(f[`${name}_low`][0]) - y(f[`${name}_high`][0]),
        fill: 'var(--band)',
        ...tell,
      }),
    );
    parts.push(
      s('path', {
        class: 'fc',
        d: `M${at - 6} ${y(f[name][0])}H${at + 6}`,
        stroke: 'var(--ink2)',
        'stroke-width': 1.5,
        'stroke-dasharray': '1 3',
      }),
    );
  }
  function words(run, row) {
    return [
      [run.name, 'b mono'],
      `N_KV ${num(row[0])}, measured`,
      `S_PP ${rate(row[3])}, S_TG ${rate(row[4])} t/s`,
      run.note ? [run.note, 'mut'] : null,
    ].filter(Boolean);
  }
  function legend(runs, live) {
    const item = (name, ...shapes) => h('span', {}, s('svg', {width: 22, height: 10}, ...shapes), name),
      has = kind => runs.some(r => r.kind === kind && r.rows.length);
    const f = state.throughput.forecast,
      dots = colour => s('path', {d: 'M0 5H22', stroke: colour, 'stroke-width': 1.5, 'stroke-dasharray': '1 3'});
    const line = (colour, width) => s('path', {d: 'M0 5H22', stroke: colour, 'stroke-width': width});
    key.replaceChildren(
      ...[
        f.now && !(host.dataset.abovepp && host.dataset.abovetg)
          ? item('forecast, 80 % band', s('rect', {width: 22, height: 10, fill: 'var(--band)'}), dots('var(--ink2)'))
          : null,
        f.now && f.pinned && !host.dataset.abovepp ? item('forecast of pinned', dots('var(--ink3)')) : null,
        !f.now || has('now') || has('pinned')
          ? item('measured', line('var(--ink)', 1.5), s('circle', {cx: 11, cy: 5, r: 3.25, fill: 'var(--ink)'}))
          : null,
        live
          ? item(
              'being timed',
              s('circle', {
                cx: 11,
                cy: 5,
                r: 3.25,
                fill: 'none',
                stroke: 'var(--ink)',
                'stroke-width': 1.25,
                'stroke-dasharray': '2 2',
              }),
            )
          : null,
        has('pinned')
          ? item(
              'pinned',
              line('var(--ink3)', 1.25),
              s('circle', {cx: 11, cy: 5, r: 2.75, fill: 'var(--bg)', stroke: 'var(--ink3)'}),
            )
          : null,
        has('earlier') ? item('earlier runs', line('var(--ghost)', 1)) : null,
      ].filter(Boolean),
    );
  }
  function rows(runs) {
    const measured = runs.filter(r => r.rows.length),
      far = Math.min(...measured.map(r => r.rows[r.rows.length - 1][0]));
    table.hidden = measured.length < 1;
    if (table.hidden) return;
    const cellOf = (row, column) => h('td', {}, row ? rate(row[column]) : ''),
      head = ['Measured runs', 'S_PP at 0', `at ${short(far)}`, 'S_TG at 0', `at ${short(far)}`];
    const sorted = [...measured].sort((a, b) => b.rows[0][3] - a.rows[0][3]);
    table.replaceChildren(
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          head.map((t, i) => h('th', {scope: 'col'}, t)),
        ),
      ),
      h(
        'tbody',
        {},
        sorted.map(run => {
          const at = run.rows.find(row => row[0] === far),
            tag = run.kind === 'earlier' ? '' : `, ${run.kind}`;
          return h(
            'tr',
            {class: run.kind === 'now' ? '' : 'pale'},
            h('th', {scope: 'row', title: run.name}, h('span', {class: 'mono'}, run.name), tag),
            cellOf(run.rows[0], 3),
            cellOf(at, 3),
            cellOf(run.rows[0], 4),
            cellOf(at, 4),
          );
        }),
      ),
    );
  }
  return {
    update(changed) {
      if (!changed.has('throughput')) return;
      const {runs, live, note: words} = state.throughput,
        now = runs.find(r => r.kind === 'now');
      text(note, words);
      attr(note, 'title', words);
      const f = state.throughput.forecast;
      where.hidden = !f.now;
      text(where, f.open ? 'hide where the time goes' : 'where does the time go');
      attr(where, 'aria-expanded', f.open);
      host.dataset.forecast = f.now ? `${f.now.s_pp[0]} ${f.now.s_tg[0]}` : '';
      clear.hidden = !runs.some(r => r.kind === 'earlier');
      rows(runs);
      const last = now && now.rows[now.rows.length - 1];
      host.dataset.points = now ? now.rows.length : 0;
      host.dataset.last = last ? last.join(' ') : '';
    },
    draw() {
      const runs = state.throughput.runs.filter(r => !r.other); // another model's rates mean nothing on this scale
      for (const one of CHARTS) chart(one, runs, state.throughput.live);
      legend(runs, state.throughput.live);
    },
  };
}
