/** The whole package also loads workers and a push client over HTTP: 5 MB without use. */
declare module 'prom-client/lib/registry.js' {
  import { Registry } from 'prom-client';
  export = Registry;
}
