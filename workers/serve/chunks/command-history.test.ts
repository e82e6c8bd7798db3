import { Ndarray } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import { CommandHistory } from './command-history.ts';

function history(): CommandHistory {
  const made = new CommandHistory('ses_1', 3, 2);
  made.remember('ses_1:3:0', Float32Array.of(0, 1, 2, 3, 4, 5));
  return made;
}

describe('CommandHistory', () => {
  it('knows no command before anything was executed', () => {
    expect(history().resolve(undefined)).toEqual({ last: undefined, before: undefined });
  });

  it('takes the step that was reached, and keeps it until more is reported', () => {
    const made = history();
    const reached = { last: Float32Array.of(4, 5), before: Float32Array.of(2, 3) };
    expect(made.resolve({ chunk_id: 'ses_1:3:0', steps: 3 })).toEqual(reached);
    expect(made.resolve(undefined)).toEqual(reached);
    made.remember('ses_1:3:1', new Float32Array(6));
    expect(made.resolve({ chunk_id: 'ses_1:3:1', steps: 0 })).toEqual(reached);
    expect(made.resolve({ chunk_id: 'ses_1:3:1', steps: 1 })).toEqual({
      last: new Float32Array(2),
      before: undefined,
    });
  });

  it("believes the robot's own command before its own chunk", () => {
    const last_command = Ndarray.float32(Float32Array.of(7, 8));
    expect(history().resolve({ chunk_id: 'ses_1:3:0', steps: 2, last_command })).toEqual({
      last: Float32Array.of(7, 8),
      before: undefined,
    });
  });

  it('knows nothing of chunks of an earlier epoch', () => {
    expect(history().resolve({ chunk_id: 'ses_1:2:40', steps: 5 }).last).toBeUndefined();
  });

  it.each([
    ['another session', { chunk_id: 'ses_2:3:0', steps: 1 }, 'executed.chunk_id'],
    ['this epoch that was never sent', { chunk_id: 'ses_1:3:9', steps: 1 }, 'executed.chunk_id'],
    ['a known one past its end', { chunk_id: 'ses_1:3:0', steps: 4 }, 'executed.steps'],
  ])('refuses a chunk of %s', (_, executed, field) => {
    expect(() => history().resolve(executed)).toThrow(
      expect.objectContaining({ code: 'invalid_observation', field }),
    );
  });

  it('forgets old chunks', () => {
    const made = history();
    for (let seq = 1; seq <= 40; seq++) made.remember(made.chunkId(seq), new Float32Array(6));
    expect(() => made.resolve({ chunk_id: 'ses_1:3:0', steps: 1 })).toThrow('no chunk');
  });
});
