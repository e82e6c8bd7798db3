import { tenantMatrix } from './tenants.suite.ts';

tenantMatrix('as a person who is signed in', {}, ({ owner }) => owner);
