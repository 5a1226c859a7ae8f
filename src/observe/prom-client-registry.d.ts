/** The package as a whole also loads what starts workers and pushes over HTTP: 5 MB for nothing. */
declare module 'prom-client/lib/registry.js' {
  import { Registry } from 'prom-client';
  export = Registry;
}
