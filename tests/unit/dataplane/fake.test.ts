import { testAsking } from '../../dataplane/asking.ts';
import { testEndings } from '../../dataplane/ending.ts';
import { openFakeStage } from '../../dataplane/fake.ts';
import { testDataPlane } from '../../dataplane/suite.ts';

testDataPlane('the data plane in memory', openFakeStage);
testAsking('the data plane in memory', openFakeStage);
testEndings('the data plane in memory', openFakeStage);
