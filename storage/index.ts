export type { ByteRange, ObjectStore, PresignPutOptions, PresignedPut } from './port.ts';
export { openStore, storeConfigFromEnv, type StoreConfig } from './config.ts';
export { DiskStore, type DiskStoreConfig } from './disk.ts';
export { STORE_PATH } from './disk-signature.ts';
export { diskUploadHandler, type UploadReceipt, type UploadRequest } from './disk-upload.ts';
export type { S3StoreConfig } from './s3.ts';
