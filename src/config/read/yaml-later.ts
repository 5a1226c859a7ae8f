/**
 * The exports of the package yaml, which is loaded with the first file that needs it. The bundle uses this file instead
 * of the package (scripts/bundle.ts). plain.ts reads most files, and loading the package would take a tenth of a start.
 */
type Library = typeof import('yaml');

/** Provided by the bundle, which has its parts by name. A part is bundled only if its name is a literal in the call. */
declare const require: (part: string) => { readonly default: Library };
const PART = './yaml.js';

function later<Name extends keyof Library>(name: Name): Library[Name] {
  const call = function (this: unknown, ...args: readonly unknown[]): unknown {
    const found = require(PART).default[name] as (...args: unknown[]) => unknown;
    return new.target === undefined ? Reflect.apply(found, undefined, args) : Reflect.construct(found, args);
  };
  return call as unknown as Library[Name];
}

export const isAlias = later('isAlias');
export const isMap = later('isMap');
export const isNode = later('isNode');
export const isPair = later('isPair');
export const isScalar = later('isScalar');
export const isSeq = later('isSeq');
export const LineCounter = later('LineCounter');
export const parseAllDocuments = later('parseAllDocuments');
export const parseDocument = later('parseDocument');
export const visit = later('visit');
