/** Of the report: light and dark, as the reader's system says. */
export const STYLE = `
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--dim:#5b6470;--rule:#dde1e6;--good:#116b3a;--bad:#b3261e;
--c0:#1f63c4;--c1:#c25a00;--c2:#12805c;--c3:#7d3fb5;--c4:#a1306b;--c5:#5b6470}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e6e9ed;--dim:#a0a9b4;--rule:#333a42;--good:#6fd39b;--bad:#ff8f86;
--c0:#78aeff;--c1:#ffab5e;--c2:#5fd3a8;--c3:#c79bf2;--c4:#f08fc0;--c5:#a0a9b4}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 20px 64px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:36px 0 8px}h3{font-size:16px;margin:28px 0 2px}
.lead{margin:0 0 8px;color:var(--dim)}.mode,figcaption{color:var(--dim);font-size:14px;margin:0 0 8px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px 32px}
figure{margin:0;min-width:0}figure h2{margin:24px 0 4px}svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:14px;min-height:22px}.key i{display:inline-block;width:18px;height:4px;border-radius:2px;margin-right:6px;vertical-align:3px}
.k0{background:var(--c0)}.k1{background:var(--c1)}.k2{background:var(--c2)}.k3{background:var(--c3)}.k4{background:var(--c4)}.k5{background:var(--c5)}
.line{fill:none;stroke-width:2.5;stroke-linejoin:round}.mark{stroke:var(--page);stroke-width:1.5}
.line.s0{stroke:var(--c0)}.line.s1{stroke:var(--c1)}.line.s2{stroke:var(--c2)}.line.s3{stroke:var(--c3)}.line.s4{stroke:var(--c4)}.line.s5{stroke:var(--c5)}
.mark.s0{fill:var(--c0)}.mark.s1{fill:var(--c1)}.mark.s2{fill:var(--c2)}.mark.s3{fill:var(--c3)}.mark.s4{fill:var(--c4)}.mark.s5{fill:var(--c5)}
.grid{stroke:var(--rule);stroke-width:1}.tick,.axis{fill:var(--dim);font-size:13px}
.empty{color:var(--dim);border:1px dashed var(--rule);padding:48px 16px;text-align:center;border-radius:6px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}
td:first-child{min-width:190px}th{color:var(--dim);font-weight:600;white-space:nowrap}.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td:nth-child(2),td:last-child{white-space:nowrap}td.met{color:var(--good);font-weight:600}td.missed{color:var(--bad);font-weight:600}ul.bad{color:var(--bad)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:4px 24px;margin:0;font-size:14px}
dl div{display:flex;gap:8px;min-width:0}dt{color:var(--dim);flex:none}dd{margin:0;overflow-wrap:anywhere}
ul{padding-left:20px;font-size:14px}
`;
