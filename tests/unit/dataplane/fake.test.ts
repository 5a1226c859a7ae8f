import { testDeciding } from '../../dataplane/deciding.ts';
import { testEndings } from '../../dataplane/ending.ts';
import { openFakeHarness } from '../../dataplane/fake.ts';
import { testFigures } from '../../dataplane/figures-suite.ts';
import { testReuse } from '../../dataplane/reuse.ts';
import { testDataPlane } from '../../dataplane/suite.ts';

testDataPlane('the data plane in memory', openFakeHarness);
testDeciding('the data plane in memory', openFakeHarness);
testFigures('the data plane in memory', openFakeHarness);
testEndings('the data plane in memory', openFakeHarness);
testReuse('the data plane in memory', openFakeHarness);
