export type {
  ByteRange,
  ObjectStore,
  OpenMultipart,
  PresignPartOptions,
  PresignPutOptions,
  PresignedPut,
  StoredObject,
  StoredPart,
} from './port.ts';
export { openStore, storeConfigFromEnv, type StoreConfig } from './config.ts';
export { DiskStore, type DiskStoreConfig } from './disk.ts';
export { diskDownloadHandler, type Download, type DownloadRequest } from './disk-download.ts';
export { STORE_PATH } from './disk-signature.ts';
export { diskUploadHandler, type UploadReceipt, type UploadRequest } from './disk-upload.ts';
export type { S3StoreConfig } from './s3.ts';
