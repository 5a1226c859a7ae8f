/**
 * Finds the started commands: in systemd units, in the output of `systemctl cat`, in scripts, and in lists of
 * processes.
 */

/** One command, as it is written. */
export interface Start {
  /** `file:line`, in the unit's own file if `systemctl cat` names it. */
  readonly place: string;
  readonly text: string;
  /** Whether it is from a unit: systemd splits its words, not a shell. */
  readonly unit?: UnitSettings;
}

export interface UnitSettings {
  /** Without `.service`; for an instance of a template, `name@instance`. */
  readonly name: string;
  /** `Environment=`, in order. */
  readonly environment: readonly string[];
  /** `EnvironmentFile=`, in order; with a hyphen in front if the file may be absent. */
  readonly environmentFiles: readonly string[];
}

interface Line {
  readonly place: string;
  readonly text: string;
}

/** @param path the source of the text, for messages and for the name of the unit */
export function findStarts(text: string, path: string): readonly Start[] {
  const files = splitFiles(text, path);
  if (!files.some(({ lines }) => lines.some((line) => line.text.trim() === '[Service]'))) {
    return joinLines(
      files.flatMap(({ lines }) => lines),
      /^\s*#/,
    ).map(({ place, text: command }) => ({ place, text: command }));
  }
  return mergeDropIns(files).flatMap(({ path: unit, lines }) => startsOf(unit, lines));
}

interface File {
  readonly path: string;
  readonly lines: readonly Line[];
}

/** `systemctl cat` prints the path of each file before it, as a comment. */
function splitFiles(text: string, path: string): readonly File[] {
  const files: { path: string; lines: Line[] }[] = [{ path, lines: [] }];
  let first = 1;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const [, header] = /^# (\/\S+\.(?:service|conf))$/.exec(line) ?? [];
    if (header !== undefined) {
      files.push({ path: header, lines: [] });
      first = index + 2;
    }
    const file = files.at(-1);
    if (header === undefined) file?.lines.push({ place: `${file.path}:${index + 1 - first + 1}`, text: line });
  }
  return files.filter(({ lines }) => lines.some((line) => line.text.trim() !== ''));
}

/** A drop-in continues the unit before it. */
function mergeDropIns(files: readonly File[]): readonly File[] {
  const units: { path: string; lines: Line[] }[] = [];
  for (const { path, lines } of files) {
    const last = units.at(-1);
    if (path.endsWith('.conf') && last !== undefined) last.lines.push(...lines);
    else units.push({ path, lines: [...lines] });
  }
  return units;
}

/** A line that ends in a backslash continues on the next line. */
function joinLines(lines: readonly Line[], comment: RegExp): readonly Line[] {
  const joined: Line[] = [];
  let open: Line | undefined;
  for (const { place, text } of lines) {
    if (comment.test(text)) continue;
    const part = open === undefined ? text : `${open.text} ${text.trimStart()}`;
    const whole = { place: open?.place ?? place, text: part };
    if (part.endsWith('\\')) open = { ...whole, text: part.slice(0, -1).trimEnd() };
    else {
      joined.push(whole);
      open = undefined;
    }
  }
  if (open !== undefined) joined.push(open);
  return joined.filter(({ text }) => text.trim() !== '');
}

function startsOf(path: string, lines: readonly Line[]): readonly Start[] {
  let section = '';
  let commands: Line[] = [];
  let environment: string[] = [];
  let environmentFiles: string[] = [];
  for (const { place, text } of joinLines(lines, /^\s*[#;]/)) {
    const [, header] = /^\s*\[(.*)\]\s*$/.exec(text) ?? [];
    section = header ?? section;
    const [, key, value = ''] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(text) ?? [];
    if (section !== 'Service' || key === undefined) continue;
    // An empty value removes the earlier ones.
    if (key === 'ExecStart') commands = value === '' ? [] : [...commands, { place, text: value }];
    if (key === 'Environment') environment = value === '' ? [] : [...environment, value];
    if (key === 'EnvironmentFile') environmentFiles = value === '' ? [] : [...environmentFiles, value];
  }
  const name = (path.split('/').at(-1) ?? path).replace(/\.service$/, '');
  return commands.map(({ place, text }) => ({ place, text, unit: { name, environment, environmentFiles } }));
}
