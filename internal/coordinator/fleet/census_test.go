package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestACensusCountsWhatIsThereAndWhatIsPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		a.host = held(8, map[string]int{"c1-r1-1": 2})
		a.host.Gpus[7].Healthy = false
		f, _ := joined(t, a)
		f.Promise(model.Reservation{Enclave: "c2-r1-1", Host: "h1", Org: "acme", Container: "web", Room: model.Room{GPUs: 4}})
		f.Promise(model.Reservation{Enclave: "c1-r1-1", Host: "h1", Org: "acme", Container: "api", Room: model.Room{GPUs: 2}})
		time.Sleep(time.Second)
		synctest.Wait()
		c := f.Census()
		if c.Hosts[Ready] != 1 || c.FreeGPUs != 5 || c.UsedGPUs != 2 || c.FaultyGPUs != 1 || c.UnknownGPUs != 0 || c.ReservedGPUs != 4 || c.Cordoned != 0 {
			t.Errorf("census is %+v, want 1 host that is ready, 5 GPUs free, 2 used, 1 faulty, 4 reserved", c)
		}
		if err := f.Add(model.Host{Name: "h1", Address: "agent", Cordoned: true}); err != nil {
			t.Fatal(err)
		}
		a.down()
		time.Sleep(time.Minute)
		synctest.Wait()
		if c := f.Census(); c.Hosts[Unreachable] != 1 || c.Cordoned != 1 || c.UnknownGPUs != 8 || c.FreeGPUs != 0 {
			t.Errorf("census is %+v, want 1 host that is cordoned and unreachable, with 8 GPUs of which nothing is known", c)
		}
		a.serve()
	})
}
