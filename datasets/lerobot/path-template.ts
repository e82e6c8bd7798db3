/**
 * Fills a Python format template as LeRobot writes them: `{name}`, and `{name:03d}` for a number
 * padded with zeros.
 * @throws RangeError for a field that has no value.
 */
export function fillPath(
  template: string,
  values: Readonly<Record<string, string | number>>,
): string {
  return template.replaceAll(
    /\{(\w+)(?::0?(\d+)d)?\}/g,
    (_match, name: string, width: string | undefined) => {
      const value = values[name];
      if (value === undefined) throw new RangeError(`path template has an unknown field ${name}`);
      return width === undefined ? String(value) : String(value).padStart(Number(width), '0');
    },
  );
}
