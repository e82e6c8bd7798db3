import { tenantMatrix } from './tenants.suite.ts';

tenantMatrix('as in production');
