import { ArmatureError } from '@armature/sdk/contract';
import { TextError } from '@armature/policy/data';
import { FinetuneError } from '@armature/policy/train';
import { ResumeRefused } from '../job/workshop.ts';

/** The policy room's errors as the job tells them apart: the tenant's to mend, or not. */
export function translated(error: unknown): unknown {
  if (error instanceof TextError) {
    return new ArmatureError('invalid_dataset', error.message, {
      field: 'task',
      fix: 'Give every episode a task of some words that the model can read.',
      cause: error,
    });
  }
  if (!(error instanceof FinetuneError)) return error;
  if (error.field === 'resume') return new ResumeRefused(error.message);
  const isEmbodiment = error.field.startsWith('embodiment');
  if (error.field === 'options.base_policy_version_id') {
    return new ArmatureError('invalid_request', `${error.field}: ${error.message}`, {
      field: error.field,
      fix: 'Leave it out, and train from the base model on all demonstrations together.',
      cause: error,
    });
  }
  return new ArmatureError(
    isEmbodiment ? 'embodiment_mismatch' : 'invalid_request',
    error.message,
    {
      field: error.field,
      fix: isEmbodiment
        ? 'Register an embodiment that the preset can take, and use data of it.'
        : `Correct ${error.field}.`,
      cause: error,
    },
  );
}

/** Runs `work` and translates what it throws. */
export async function translating<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translated(error);
  }
}
