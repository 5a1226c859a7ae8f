import type * as Contract from '../system/process.ts';
import './host.ts';

export const ENGINE: typeof Contract.ENGINE = { quickjs: host.engine, arch: host.arch };

export const readUse: typeof Contract.readUse = () => {
  const { cpuSeconds, residentBytes, descriptors } = host.processUse();
  return { cpuSeconds, residentBytes, descriptors: descriptors < 0 ? undefined : descriptors };
};
