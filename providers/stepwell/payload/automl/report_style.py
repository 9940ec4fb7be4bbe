"""The style of a search's report: the look of Stepwell's reports, light and dark, and of the charts."""

from __future__ import annotations

# ruff: noqa: E501

STYLE = """
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #16202b; --soft: #5b6875; --line: #e1e5ea; --track: #eef0f3;
  --passed: #1a7f4b; --warning: #a35f00; --failed: #c2293a; --done: #0b62a8;
  --passed-bg: #e3f4ea; --warning-bg: #fdf0d9; --failed-bg: #fce6e8; --done-bg: #e2eefa;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b765a0; --c4: #c58a00; --c5: #4ba3d6; --c6: #6b4c9a; --rest: #aab3bd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #182029; --ink: #e6ebf0; --soft: #9aa7b4; --line: #2a3440; --track: #222b35;
    --passed: #4cc388; --warning: #e9aa4b; --failed: #f4717f; --done: #6db3ef;
    --passed-bg: #173528; --warning-bg: #3a2c14; --failed-bg: #3e1d22; --done-bg: #16304a;
    --c0: #3f9ad6; --c1: #ee7d2c; --c2: #27b890; --c3: #d98bc4; --c4: #e0aa2e; --c5: #7cc4ee; --c6: #a58bd6; --rest: #55616e;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem 1.5rem; margin-bottom: 1.25rem; }
.passed { --tone: var(--passed); --tint: var(--passed-bg); } .warning { --tone: var(--warning); --tint: var(--warning-bg); }
.failed { --tone: var(--failed); --tint: var(--failed-bg); } .done { --tone: var(--done); --tint: var(--done-bg); }
header.card { border-top: 5px solid var(--tone); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; } h2 small { font-weight: 400; color: var(--soft); margin-left: .5rem; font-size: .85rem; }
h3 { font-size: .95rem; margin: 1.1rem 0 .4rem; }
p { margin: .25rem 0; } a { color: var(--done); text-decoration: none; } a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1.1rem 0 0; font-size: .9rem; border-top: 1px solid var(--line); padding-top: .75rem; }
.soft { color: var(--soft); }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 99px; background: var(--tint); color: var(--tone); font-weight: 600; font-size: .85rem; white-space: nowrap; }
h1 .badge { font-size: 1rem; padding: .2rem .8rem; margin-right: .5rem; vertical-align: .12em; }
.hero { display: grid; grid-template-columns: minmax(0, 2fr) repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem 2rem; align-items: end; margin: 1.25rem 0 .25rem; }
.hero div > small { display: block; color: var(--soft); font-size: .8rem; overflow-wrap: break-word; }
.hero strong { display: block; font-size: 1.9rem; line-height: 1.25; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.hero span { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
dl.facts { display: flex; flex-wrap: wrap; gap: .75rem 2.25rem; margin: 1rem 0 0; }
dl.facts div { min-width: 5rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.reason { border-left: 4px solid var(--tone); background: var(--tint); padding: .6rem .9rem; border-radius: 4px; margin-top: 1rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } .long { max-height: 44rem; overflow-y: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .8rem; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: bottom; overflow-wrap: break-word; }
.long thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
td { padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { white-space: normal; min-width: 4.5rem; }
td.words { min-width: 14rem; overflow-wrap: anywhere; } td small { color: var(--soft); display: block; }
tr.top > td { background: var(--passed-bg); } tr.top > td:first-child { box-shadow: inset 3px 0 0 var(--passed); }
.board td:first-child, .board th:first-child { padding-left: .75rem; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
details > summary { cursor: pointer; } section > details:not(.block) { margin-top: .75rem; } details > summary:hover { color: var(--done); }
details.block > summary { font-weight: 600; font-size: 1.15rem; } details.block[open] > summary { margin-bottom: .6rem; }
.inner { padding: .5rem 0 .35rem; font-size: .85rem; }
@media (min-width: 66rem) { .board .inner { margin-right: -25rem; } } /* over the empty rest of the row */
.pairs { columns: 2 19rem; column-gap: 2rem; margin: .2rem 0 .6rem; }
.pairs div { display: flex; justify-content: space-between; gap: 1rem; break-inside: avoid; border-bottom: 1px solid var(--line); padding: .12rem 0; }
.pairs dt { font-size: inherit; overflow-wrap: break-word; flex: 0 0 auto; max-width: 70%; } .pairs dd { font-weight: 500; text-align: right; min-width: 0; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem 2rem; align-items: start; }
figure { margin: 0; min-width: 0; } .wide { grid-column: 1 / -1; }
figcaption small { color: var(--soft); display: block; font-size: .85rem; min-height: 1.3em; }
ul.key { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .85rem; padding: 0; margin: .3rem 0; list-style: none; }
ul.key li::before { content: ""; display: inline-block; width: .65rem; height: .65rem; border-radius: 50%; background: var(--c); margin-right: .4rem; }
ul.key li.stroke::before { width: 1.1rem; height: 0; border-radius: 0; border-top: 2.5px solid var(--c); background: none; vertical-align: .25em; }
ul.key li.band::before { border-radius: 2px; opacity: .3; width: 1.1rem; }
ul.key li.average::before, ul.key li.even::before { border-top-style: dashed; }
.s0 { --c: var(--c0); } .s1 { --c: var(--c1); } .s2 { --c: var(--c2); } .s3 { --c: var(--c3); } .s4 { --c: var(--c4); }
.s5 { --c: var(--c5); } .s6 { --c: var(--c6); } .other { --c: var(--rest); }
.best, .true, .average { --c: var(--ink); } .past { --c: var(--rest); } .even { --c: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.mid { text-anchor: middle; } svg text.end { text-anchor: end; } svg text.ink { fill: var(--ink); }
svg text.on { fill: #fff; } svg text.small { font-size: 10px; } svg text.name { font-size: 12px; } svg text.count-of { font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; } .axis { stroke: var(--soft); stroke-width: 1; }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; } .line.best { stroke-width: 1.75; }
.line.past, .line.true { stroke-width: 1.5; } .line.other { stroke-width: 1; opacity: .7; }
.line.even, .line.average { stroke-width: 1.5; stroke-dasharray: 5 4; }
.dot { fill: var(--c); fill-opacity: .85; stroke: var(--card); stroke-width: .6; } .dot.thin { fill-opacity: .45; stroke: none; }
.dot.hollow { fill: var(--card); stroke: var(--c); stroke-width: 2; }
.ring { fill: none; stroke: var(--ink); stroke-width: 1.75; }
.bar { fill: var(--c); } .whisker { stroke: var(--ink); stroke-width: 1.25; opacity: .75; }
.cell { fill: var(--c); } .field { fill: var(--track); } .band:not(li) { fill: var(--c); fill-opacity: .2; } .count { fill: var(--track); stroke: var(--line); }
footer { color: var(--soft); font-size: .85rem; }
@media (max-width: 52rem) { .charts { grid-template-columns: minmax(0, 1fr); } .hero { grid-template-columns: minmax(0, 1fr); } figure.wide { overflow-x: auto; } figure.wide svg { min-width: 38rem; } }
@media print { body { background: #fff; } .card { break-inside: avoid-page; } .long { max-height: none; } nav { display: none; } }
"""
