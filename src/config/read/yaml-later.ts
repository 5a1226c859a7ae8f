/**
 * What the package yaml has, loaded with the first file that needs it. The bundle has it in the place of that package
 * (scripts/bundle.ts): plain.ts reads most files, and the package takes a tenth of the time of a start to load.
 */
type Library = typeof import('yaml');

/** Of the bundle, with its parts by name. A name that is not written in the call is not bundled. */
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
