"""The page of a gate's report: one file, no script, nothing loaded from anywhere, light and dark."""

from __future__ import annotations

# ruff: noqa: E501

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ name }}: {{ verdict }}</title>
<style>
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #16202b; --soft: #5b6875; --line: #e1e5ea; --track: #e8ebef;
  --passed: #1a7f4b; --warned: #a35f00; --failed: #c2293a; --errored: #6b3fb5;
  --passed-bg: #e3f4ea; --warned-bg: #fdf0d9; --failed-bg: #fce6e8; --errored-bg: #eee7fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #182029; --ink: #e6ebf0; --soft: #9aa7b4; --line: #2a3440; --track: #2a3440;
    --passed: #4cc388; --warned: #e9aa4b; --failed: #f4717f; --errored: #b598f0;
    --passed-bg: #173528; --warned-bg: #3a2c14; --failed-bg: #3e1d22; --errored-bg: #2b2143;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem 1.5rem; margin-bottom: 1.25rem; }
.passed { --tone: var(--passed); --tint: var(--passed-bg); } .warned { --tone: var(--warned); --tint: var(--warned-bg); }
.failed { --tone: var(--failed); --tint: var(--failed-bg); } .errored { --tone: var(--errored); --tint: var(--errored-bg); }
header.card { border-top: 5px solid var(--tone); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 99px; background: var(--tint); color: var(--tone); font-weight: 600; font-size: .85rem; white-space: nowrap; }
h1 .badge { font-size: 1rem; padding: .2rem .8rem; margin-right: .5rem; vertical-align: .12em; }
dl.facts { display: flex; flex-wrap: wrap; gap: .75rem 2.25rem; margin: 1rem 0 0; }
dl.facts div { min-width: 5rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.parts { display: flex; height: 12px; border-radius: 6px; overflow: hidden; background: var(--track); gap: 2px; margin: 1.1rem 0 .5rem; }
.parts span { background: var(--tone); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.25rem; font-size: .9rem; padding: 0; margin: 0; list-style: none; }
.legend li::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: 3px; background: var(--tone); margin-right: .4rem; }
.reason { border-left: 4px solid var(--errored); background: var(--errored-bg); padding: .6rem .9rem; border-radius: 4px; margin-top: 1rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .8rem; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
td { padding: .6rem .75rem .6rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.words { min-width: 15rem; overflow-wrap: anywhere; }
td.column { max-width: 14rem; } td.column code { overflow-wrap: break-word; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.meter { width: 9.5rem; }
.bar { position: relative; height: 8px; border-radius: 4px; background: var(--track); margin-top: .5rem; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: 4px; background: var(--tone); min-width: 2px; }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--ink); }
.meter small, .words small { color: var(--soft); display: block; }
.samples { margin-top: .35rem; } .samples code { background: var(--tint); padding: .05rem .35rem; border-radius: 4px; margin: 0 .2rem .2rem 0; display: inline-block; }
footer { color: var(--soft); font-size: .85rem; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header class="card {{ verdict }}">
  <h1><span class="badge">{{ mark[verdict] }} {{ verdict }}</span>{{ name }}</h1>
  <p class="soft">{{ meaning }}</p>
  {% if reason %}<p class="reason">{{ reason }}</p>{% endif %}
  {% if expectations %}
  <div class="parts" role="img" aria-label="{{ legend|map('join', ' ')|join(', ') }}">
    {% for outcome, count in legend if count %}<span class="{{ outcome }}" style="flex: {{ count }}"></span>{% endfor %}
  </div>
  <ul class="legend">{% for outcome, count in legend %}<li class="{{ outcome }}">{{ count }} {{ outcome }}</li>{% endfor %}</ul>
  {% endif %}
  <dl class="facts">
    <div><dt>Suite</dt><dd>{{ suite or "unnamed" }}</dd></div>
    {% if rows is not none %}<div><dt>Rows</dt><dd>{{ number(rows) }}</dd></div><div><dt>Columns</dt><dd>{{ columns|length }}</dd></div>{% endif %}
    <div><dt>Engine</dt><dd>{{ engine }}</dd></div>
    <div><dt>Judged</dt><dd>{{ when }}</dd></div>
    <div><dt>Took</dt><dd>{{ "%.1f"|format(seconds) }} s</dd></div>
  </dl>
</header>
{% if expectations %}
<section class="card">
  <h2>Expectations</h2>
  <div class="scroll"><table>
    <thead><tr><th>Outcome</th><th>Column</th><th>Expectation</th><th>As expected</th><th>Severity</th></tr></thead>
    <tbody>
    {% for e in expectations %}
    <tr class="{{ e.outcome }}">
      <td><span class="badge">{{ mark[e.outcome] }} {{ e.outcome }}</span></td>
      <td class="column">{% if e.column %}<code>{{ e.column }}</code>{% else %}<span class="soft">table</span>{% endif %}</td>
      <td class="words">{{ e.says }}
        {% if e.outcome != "passed" %}<small>{{ e.message }}</small>{% endif %}
        {% if e.notes %}<small>{{ e.notes }}</small>{% endif %}
        {% if e.samples %}<div class="samples">{% for s in e.samples %}<code>{{ s }}</code>{% endfor %}</div>{% endif %}
      </td>
      <td class="meter">{% if e.share is not none %}
        <div class="bar" title="{{ e.share_text }}"><i style="width: {{ "%.2f"|format(e.share) }}%"></i>{% if e.mostly %}<b style="left: {{ "%.2f"|format(e.mostly) }}%"></b>{% endif %}</div>
        <small>{{ e.share_text }}</small>
      {% elif e.observed is not none %}{{ e.observed }}<small>observed</small>
      {% else %}<span class="soft">{{ "not evaluated" if e.outcome == "errored" else "yes" if e.outcome == "passed" else "no" }}</span>{% endif %}</td>
      <td class="soft">{{ e.severity }}</td>
    </tr>
    {% endfor %}
    </tbody>
  </table></div>
</section>
{% endif %}
{% if columns %}
<section class="card">
  <h2>Columns</h2>
  <div class="scroll"><table>
    <thead><tr><th>Name</th><th>Type</th><th class="number">Missing</th><th>Present</th></tr></thead>
    <tbody>
    {% for c in columns %}
    <tr class="passed">
      <td><code>{{ c.name }}</code></td><td class="soft">{{ c.type }}</td><td class="number">{{ number(c.nulls) }}</td>
      <td class="meter"><div class="bar"><i style="width: {{ "%.2f"|format(c.present) }}%"></i></div><small>{{ c.present_text }}</small></td>
    </tr>
    {% endfor %}
    </tbody>
  </table></div>
</section>
{% endif %}
<footer>
  {% if expectations and not with_samples %}<p>Values of the data are not shown: the gate was not asked for samples.</p>{% endif %}
  <p>Stepwell gate{% if great_expectations %} on Great Expectations {{ great_expectations }}{% endif %}.{% if expectations %} A mark on a bar is the share that an expectation asks for.{% endif %}</p>
</footer>
</main>
</body>
</html>
"""
