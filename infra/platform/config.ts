/** Settings of the platform's processes that pass through from the environment it is started in. */
const PASSED = [
  'PATH',
  'HOME',
  'LANG',
  'TMPDIR',
  'LOG_LEVEL',
  'ENGINE_THREADS',
  'REASON_THREADS',
  'EXECUTION_PROVIDER',
  'GUIDANCE_PULLED_BACK',
  'VISION_ENDPOINT_URL',
  'VISION_ENDPOINT_KEY',
  'VISION_ENDPOINT_MODEL',
] as const;

/** What every process of the platform gets from ours: nothing else passes. */
export function environmentOfParts(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  return Object.fromEntries(
    PASSED.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}
