/** Weights in and out of files' bytes. Nothing here touches a disk or a network. */
export {
  SafetensorsError,
  fromFloat32,
  listSafetensors,
  readSafetensors,
  toFloat32,
  writeSafetensors,
} from './safetensors.ts';
export type { SafeDType, SafeTensor, SafetensorsFile } from './safetensors.ts';
