import { tenantMatrix } from './tenants.suite.ts';

tenantMatrix('by the predicates alone', { databaseRole: 'superuser' });
