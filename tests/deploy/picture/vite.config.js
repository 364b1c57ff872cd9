// The automatic JSX runtime needs no plugin; some of Grafana's dependencies look for `process`.
export default { esbuild: { jsx: 'automatic' }, define: { 'process.env': {} }, build: { chunkSizeWarningLimit: 1e5 } };
