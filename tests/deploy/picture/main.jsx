// Draws a dashboard with Grafana's own components, from answers that a real Prometheus gave.

import { applyFieldOverrides, createTheme, dateTime, FieldType, getDisplayProcessor, toDataFrame } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { BigValue, GlobalStyles, PanelChrome, Table, ThemeContext, TimeSeries } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

const COLUMN = 56;
const ROW = 26;
const GAP = 8;
const BORDER = 2;
const HEADING = 30;
const DRAWN = ['stat', 'timeseries', 'table'];
const theme = createTheme({ colors: { mode: 'dark' } });

function named(legend, labels) {
  return legend === '__auto' ? Object.values(labels).join(' ') : legend.replace(/{{(\w+)}}/g, (_, name) => labels[name] ?? '');
}

function frameOf(name, values) {
  return toDataFrame({
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000) },
      { name, type: FieldType.number, values: values.map(([, value]) => Number(value)), config: { displayName: name } },
    ],
  });
}

function withOptions(frames, panel) {
  const data = applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  const defaults = panel.fieldConfig.defaults;
  let series = 0;
  for (const frame of data) {
    for (const field of frame.fields) {
      if (field.type === FieldType.number) {
        field.config = { ...defaults, ...field.config, custom: { ...defaults.custom, ...field.config.custom } };
        field.state = { ...field.state, seriesIndex: series++ };
      }
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    }
  }
  return data;
}

function seriesOf(panel, answers) {
  return panel.targets.flatMap((target) =>
    answers[target.refId].map((one) => frameOf(named(target.legendFormat, one.metric), one.values))
  );
}

function Graph({ panel, answers, range, width, height }) {
  const frames = withOptions(seriesOf(panel, answers), panel);
  const legend = { ...panel.options.legend, showLegend: frames.length > 0 && frames.length < 8 };
  return (
    <TimeSeries frames={frames} timeRange={range} timeZone="utc" width={width} height={height} legend={legend} options={{}} />
  );
}

function Stat({ panel, answers, width, height }) {
  const frames = withOptions(seriesOf(panel, answers), panel);
  const share = width / Math.max(1, frames.length);
  return (
    <div style={{ display: 'flex' }}>
      {frames.map((frame, index) => {
        const field = frame.fields[1];
        const last = field.values.filter((value) => !Number.isNaN(value)).at(-1);
        const title = frames.length > 1 ? field.config.displayName : undefined;
        return (
          <BigValue
            key={index}
            theme={theme}
            width={share}
            height={height}
            value={{ ...field.display(last), title }}
            colorMode={panel.options.colorMode}
            graphMode={panel.options.graphMode}
            sparkline={panel.options.graphMode === 'area' ? { y: field, x: frame.fields[0] } : undefined}
          />
        );
      })}
    </div>
  );
}

function Rows({ panel, answers, width, height }) {
  const organize = panel.transformations.find((one) => one.id === 'organize').options;
  const rows = new Map();
  for (const target of panel.targets) {
    const column = organize.renameByName[`Value #${target.refId}`];
    for (const one of answers[target.refId]) {
      const row = rows.get(one.metric.stream) ?? {};
      rows.set(one.metric.stream, { ...row, ...one.metric, [column]: Number(one.value[1]) });
    }
  }
  const hidden = Object.keys(organize.excludeByName).map((name) => organize.renameByName[name]);
  const columns = ['stream', 'instance', ...Object.values(organize.renameByName).filter((name) => !hidden.includes(name))];
  const sorted = [...rows.values()].sort((a, b) => a.stream.localeCompare(b.stream));
  const fields = columns.map((name) => ({
    name,
    type: ['stream', 'instance'].includes(name) ? FieldType.string : FieldType.number,
    values: sorted.map((row) => row[name]),
    config: overrides(panel, name, Math.floor(width / columns.length)),
  }));
  const [frame] = withOptions([toDataFrame({ fields })], { fieldConfig: { defaults: {}, overrides: [] } });
  return <Table data={frame} width={width} height={height} enableVirtualization={false} />;
}

function overrides(panel, name, width) {
  const config = { custom: { width } };
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    for (const { id, value } of matcher.options === name ? properties : []) {
      if (id.startsWith('custom.')) {
        config.custom[id.slice('custom.'.length)] = value;
      } else {
        config[id] = value;
      }
    }
  }
  return config;
}

const KINDS = { stat: Stat, timeseries: Graph, table: Rows };

function Panel({ panel, answers, range }) {
  const width = panel.gridPos.w * COLUMN - GAP - BORDER;
  const height = panel.gridPos.h * ROW - GAP;
  const Kind = KINDS[panel.type];
  return (
    <PanelChrome title={panel.title} width={width} height={height}>
      {(innerWidth, innerHeight) => (
        <Kind panel={panel} answers={answers} range={range} width={innerWidth} height={innerHeight} />
      )}
    </PanelChrome>
  );
}

// Timeline and heatmap belong to Grafana itself, not to its library: the panels after them move up, and what stands alone
// in a line then is made as wide as the line.
function laidOut(panels) {
  const lines = [[]];
  for (const panel of panels) {
    const used = lines.at(-1).reduce((sum, one) => sum + one.gridPos.w, 0);
    if (panel.type === 'row' || used + panel.gridPos.w > 24) {
      lines.push([]);
    }
    lines.at(-1).push(panel);
    if (panel.type === 'row') {
      lines.push([]);
    }
  }
  return lines.flatMap((line) => {
    const used = line.reduce((sum, one) => sum + one.gridPos.w, 0);
    return line.map((one) => ({ ...one, gridPos: { ...one.gridPos, w: (one.gridPos.w * 24) / used } }));
  });
}

function Dashboard({ dashboard, answers, range }) {
  const drawn = dashboard.panels.filter((panel) => panel.type === 'row' || DRAWN.includes(panel.type));
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: GAP, width: 24 * COLUMN, padding: GAP, boxSizing: 'content-box' }}>
      {laidOut(drawn).map((panel) =>
        panel.type === 'row' ? (
          <h5 key={panel.id} style={{ width: '100%', margin: 0, lineHeight: `${HEADING}px` }}>
            {panel.title}
          </h5>
        ) : (
          <Panel key={panel.id} panel={panel} answers={answers[panel.id]} range={range} />
        )
      )}
    </div>
  );
}

const { dashboard, answers, began, ended } = await (await fetch('/night.json')).json();
const [from, to] = [dateTime(began * 1000), dateTime(ended * 1000)];
await initPluginTranslations('lens-bridge');
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Dashboard dashboard={dashboard} answers={answers} range={{ from, to, raw: { from, to } }} />
  </ThemeContext.Provider>
);
