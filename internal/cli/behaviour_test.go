package cli

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestRelaunchSendsOnlyTheFlagsThatWereGiven(t *testing.T) {
	w := newWorld(t, newFleet())
	code := w.run(t, "container", "relaunch", "c7f3a1", "--org", "acme", "--variable", "A=1", "--variable", "B=x=y", "--no-secrets",
		"--debug=false", "--host", "", "--drain-timeout", "90s", "--strategy", "blue-green", "--supersede", "--yes", "--no-wait")
	if code != ExitOK {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	want := &cv1.StartUpdateRequest{
		Org: "acme", Container: "c7f3a1", Spec: &cv1.ContainerSpec{Variables: map[string]string{"A": "1", "B": "x=y"}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"debug", "host", "secrets", "variables"}},
		Options:    &cv1.UpdateOptions{Strategy: cv1.Strategy_STRATEGY_BLUE_GREEN, Supersede: true, DrainTimeout: durationpb.New(90 * time.Second)},
		PlanEtag:   "p1", RequestId: "request-1",
	}
	sent := got[*cv1.StartUpdateRequest](w.fleet)
	if len(sent) != 1 {
		t.Fatalf("%d updates were started, want 1", len(sent))
	}
	slices.Sort(sent[0].UpdateMask.Paths)
	if d := cmp.Diff(want, sent[0], protocmp.Transform()); d != "" {
		t.Errorf("StartUpdate (-want +got):\n%s", d)
	}
}

func TestAChangedPlanIsSentWithANewRequestID(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.plans = []*cv1.Plan{bluePlan(), replacePlan()}
	if code := w.run(t, "container", "create", "web", "--repo", "https://x.example/r", "--tag", "v1", "--yes", "--no-wait"); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	var seen []string
	for _, m := range got[*cv1.CreateContainerRequest](w.fleet) {
		if !m.GetValidateOnly() {
			seen = append(seen, m.GetPlanEtag()+" "+m.GetRequestId())
		}
	}
	if d := cmp.Diff([]string{"p1 request-1", "p2 request-2"}, seen); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestAPlanThatNeverHoldsStillIsGivenUp(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.refuse["StartUpdateRequest"] = rpc.Error(codes.Aborted, "PLAN_CHANGED", "the plan is another one by now")
	if code := w.run(t, "container", "relaunch", "web", "--yes"); code != ExitFailed {
		t.Errorf("exit code %d, want %d", code, ExitFailed)
	}
	if n := len(got[*cv1.StartUpdateRequest](w.fleet)); n != maxPlans {
		t.Errorf("%d attempts, want %d", n, maxPlans)
	}
}

func TestAFollowedUpdateOutlivesTheConnection(t *testing.T) {
	tests := map[string]struct {
		err error
		// tokens are those that watches begin with.
		tokens []string
	}{
		"a broken stream goes on after the last token":            {status.Error(codes.Unavailable, "transport is closing"), []string{"", "t3"}},
		"a coordinator that stops is come back to":                {rpc.Error(codes.Unavailable, "STOPPING", "this coordinator is stopping"), []string{"", "t3"}},
		"a slow reader watches again":                             {rpc.Error(codes.ResourceExhausted, "SLOW_READER", "read too slowly"), []string{"", "t3"}},
		"lost history begins again with a snapshot":               {rpc.Error(codes.OutOfRange, "RESUME_TOKEN_EXPIRED", "gone"), []string{"", ""}},
		"a stream that simply ends is opened again at that place": {io.EOF, []string{"", "t3"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newFleet())
			w.fleet.breaks[4] = tt.err
			if errors.Is(tt.err, io.EOF) {
				w.fleet.breaks[4] = status.Error(codes.Canceled, "the stream ended")
			}
			if code := w.run(t, "container", "relaunch", "web", "--yes"); code != ExitOK {
				t.Fatalf("exit code %d: %s", code, &w.err)
			}
			var tokens []string
			for _, m := range got[*cv1.WatchUpdatesRequest](w.fleet) {
				tokens = append(tokens, m.GetResumeToken())
			}
			if d := cmp.Diff(tt.tokens, tokens); d != "" {
				t.Errorf("watches began with (-want +got):\n%s", d)
			}
			if !strings.Contains(w.err.String(), "connection broken") {
				t.Errorf("the break was not told: %s", &w.err)
			}
			if n := strings.Count(w.out.String(), "step boot"); n != 1 {
				t.Errorf("step boot was told %d times, want once:\n%s", n, &w.out)
			}
		})
	}
}

func TestALostConnectionSaysThatTheUpdateGoesOn(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.refuse["WatchUpdatesRequest"] = status.Error(codes.Unavailable, "no route to host")
	w.env.Patience.GiveUp = 0
	if code := w.run(t, "container", "relaunch", "web", "--yes"); code != ExitUnreachable {
		t.Errorf("exit code %d, want %d", code, ExitUnreachable)
	}
	if !strings.Contains(w.err.String(), "it goes on. Follow it again: casemate container update status web --follow") {
		t.Errorf("stderr: %s", &w.err)
	}
}

func TestACoordinatorThatCantBeReachedIsExitCode3(t *testing.T) {
	w := newWorld(t, newFleet())
	w.env.Dial = rpc.Dial
	code := w.run(t, "--coordinator", "unix:///nonexistent/socket", "container", "list")
	if code != ExitUnreachable || !strings.HasPrefix(w.err.String(), "casemate: the coordinator at unix:///nonexistent/socket can't be reached: dial unix ") {
		t.Errorf("exit code %d: %s", code, &w.err)
	}
}

func TestWhyNobodyAnswersIsToldWithoutGRPCsWords(t *testing.T) {
	for text, want := range map[string][]string{
		`connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:7443: connect: connection refused"`: {": dial tcp 10.0.0.1:7443: connect: connection refused\n", "see that it runs"},
		`connection error: desc = "transport: Error while dialing: dial unix /run/c.sock: connect: permission denied"`:   {": dial unix /run/c.sock: connect: permission denied\n", "members of the group casemate"},
		`connection error: desc = "error reading server preface: EOF"`:                                                   {`: connection error: desc = "error reading server preface: EOF"`, "see that it runs"},
	} {
		t.Run(want[1], func(t *testing.T) {
			w := newWorld(t, newFleet())
			w.fleet.refuse["ListContainersRequest"] = status.Error(codes.Unavailable, text)
			code := w.run(t, "container", "list")
			for _, part := range want {
				if code != ExitUnreachable || !strings.Contains(w.err.String(), part) {
					t.Errorf("exit code %d: %s\nwant %q in it", code, &w.err, part)
				}
			}
		})
	}
}

func TestAReasonStandsOnce(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.refuse["StartUpdateRequest"] = rpc.Error(codes.FailedPrecondition, "MANIFEST_MISSING", "v2 has no signed manifest [MANIFEST_MISSING]")
	if code := w.run(t, "container", "relaunch", "web", "--yes"); code != ExitFailed || strings.Count(w.err.String(), "MANIFEST_MISSING") != 1 {
		t.Errorf("exit code %d: %s", code, &w.err)
	}
}

func TestAnEmptyListNamesItsOrg(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.containers = nil
	if code := w.run(t, "--org", "acme", "container", "list"); code != ExitOK || w.out.String() != "no containers in org acme\n" {
		t.Errorf("exit code %d: %s", code, &w.out)
	}
}

func TestCtrlCStopsFollowingAndNotTheUpdate(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.script = heldUpdate()[:1]
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-w.fleet.quiet
		cancel()
	}()
	code := Run(ctx, []string{"container", "relaunch", "web", "--yes"}, w.env)
	if code != ExitInterrupted {
		t.Errorf("exit code %d, want %d", code, ExitInterrupted)
	}
	if !strings.Contains(w.err.String(), "stopped following; web-u4 goes on") {
		t.Errorf("stderr: %s", &w.err)
	}
	if n := len(got[*cv1.CancelUpdateRequest](w.fleet)); n != 0 {
		t.Errorf("the update was cancelled")
	}
}

func TestAnUpdateThatIsGoneEndsTheFollowing(t *testing.T) {
	w := newWorld(t, newFleet())
	other := proto.CloneOf(w.fleet.script[0])
	other.Id = "web-u5"
	w.fleet.script = w.fleet.script[:1]
	w.fleet.script[0] = other
	a := &app{env: w.env, flags: globals{output: "table", timeout: patience}}
	defer a.close()
	err := a.followUpdate(t.Context(), base(), goal{})
	if err == nil || !strings.Contains(err.Error(), "is not there any more") {
		t.Errorf("following an update that is gone: %v", err)
	}
}

func TestAcceptNamesTheUpdateAndStateThatWasShown(t *testing.T) {
	w := newWorld(t, newFleet())
	held(w)
	w.fleet.accepted = acceptedUpdate()
	if code := w.run(t, "container", "update", "accept", "web", "--no-wait"); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	m := got[*cv1.AcceptUpdateRequest](w.fleet)[0]
	if m.GetId() != "web-u4" || m.GetEtag() != "uUPDATE_STEP_HOLD" || m.GetRequestId() == "" {
		t.Errorf("accepted %v", m)
	}
}

func TestStopAndDeleteNameTheContainerThatWasShown(t *testing.T) {
	w := newWorld(t, newFleet())
	deleting(w)
	w.fleet.breaks[1] = status.Error(codes.Unavailable, "transport is closing")
	if code := w.run(t, "container", "delete", "web", "--yes"); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	all := got[*cv1.DeleteContainerRequest](w.fleet)
	if last := all[len(all)-1]; last.GetName() != "c7f3a1" || last.GetRequestId() == "" {
		t.Errorf("deleted %v, want the uid", last)
	}
}

func TestStopThatEndsOtherwiseIsAFailure(t *testing.T) {
	w := newWorld(t, newFleet())
	c := inStatus(webContainer(), cv1.ContainerStatus_CONTAINER_STATUS_FAILED)
	c.Text = "the host does not answer"
	w.fleet.goes = []*cv1.Container{c}
	if code := w.run(t, "container", "stop", "web", "--yes"); code != ExitFailed {
		t.Errorf("exit code %d, want %d", code, ExitFailed)
	}
	if !strings.Contains(w.err.String(), "is FAILED instead of stopped: the host does not answer") {
		t.Errorf("stderr: %s", &w.err)
	}
}

func TestNothingIsDoneWhereNobodyCanAnswer(t *testing.T) {
	for _, args := range [][]string{
		{"container", "create", "web", "--repo", "r", "--tag", "v1"}, {"container", "template", "web", "two"},
		{"container", "start", "web"}, {"container", "stop", "web"}, {"container", "delete", "web"}, {"container", "relaunch", "web"},
		{"container", "update", "force", "web"}, {"secret", "delete", "DB_URL"}, {"host", "remove", "gpu-2"},
	} {
		w := newWorld(t, newFleet())
		if code := w.run(t, args...); code != ExitUsage {
			t.Errorf("%v: exit code %d, want %d", args, code, ExitUsage)
		}
		if !strings.Contains(w.err.String(), "--yes") {
			t.Errorf("%v: stderr: %s", args, &w.err)
		}
		for _, c := range w.fleet.calls {
			if !changesNothing(c) {
				t.Errorf("%v: was asked to %T without an answer", args, c)
			}
		}
	}
}

// changesNothing says whether a call only plans.
func changesNothing(m proto.Message) bool {
	v, ok := m.(interface{ GetValidateOnly() bool })
	_, plan := m.(*cv1.PlanUpdateRequest)
	return plan || ok && v.GetValidateOnly()
}

func TestWhatIsWrongWithAPlanIsSaidWhereNobodyCanAnswer(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.refuse["PlanUpdateRequest"] = status.Error(codes.NotFound, "there is no tag v9")
	if code := w.run(t, "container", "relaunch", "web", "--tag", "v9"); code != ExitFailed || !strings.Contains(w.err.String(), "there is no tag v9") {
		t.Errorf("exit code %d, want %d, stderr: %s", code, ExitFailed, &w.err)
	}
}

func TestBadFlagsAreRefusedBeforeAnyCall(t *testing.T) {
	for want, args := range map[string][]string{
		"is not K=V":                {"--variable", "LOG"},
		"given twice":               {"--variable", "A=1", "--variable", "A=2"},
		"--strategy is":             {"--strategy", "canary"},
		"--drain-timeout":           {"--drain-timeout", "25h"},
		"--start-timeout":           {"--start-timeout", "soon"},
		"--tag is empty":            {"--tag", ""},
		"is a private key":          {"--ssh-key", "testdata/private-key.txt"},
		"holds no key":              {"--ssh-key", "testdata/no-key.txt"},
		"no such file":              {"--ssh-key", "testdata/missing"},
		"none of the others can be": {"--variable", "A=1", "--no-variables"},
		"--timeout must be":         {"--timeout", "0s"},
	} {
		w := newWorld(t, newFleet())
		code := w.run(t, append([]string{"container", "relaunch", "web", "--yes"}, args...)...)
		if code != ExitUsage || !strings.Contains(w.err.String(), want) || len(w.fleet.calls) > 0 {
			t.Errorf("%v: exit code %d, %d calls, stderr: %s", args, code, len(w.fleet.calls), &w.err)
		}
	}
}

func TestPublicKeysComeFromFiles(t *testing.T) {
	w := newWorld(t, newFleet())
	if code := w.run(t, "container", "relaunch", "web", "--debug", "--ssh-key", "testdata/keys.pub", "--yes", "--no-wait"); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	want := []string{"ssh-ed25519 AAAAC3Nza1 one@host", "ssh-ed25519 AAAAC3Nza2 two@host"}
	if d := cmp.Diff(want, got[*cv1.StartUpdateRequest](w.fleet)[0].GetSpec().GetSshKeys()); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
}

func TestSettingsAreFlagThenEnvironmentThenFileThenDefault(t *testing.T) {
	tests := map[string]struct {
		args         []string
		vars         map[string]string
		file         string
		address, org string
	}{
		"defaults":              {address: defaultCoordinator, org: "default"},
		"the file":              {file: "address: file:1\norg: filed\n", address: "file:1", org: "filed"},
		"environment over file": {file: "address: file:1\norg: filed\n", vars: map[string]string{"CASEMATE_COORDINATOR": "env:1", "CASEMATE_ORG": "env"}, address: "env:1", org: "env"},
		"flags over all": {
			args: []string{"--coordinator", "flag:1", "--org", "flagged"}, file: "address: file:1\n",
			vars: map[string]string{"CASEMATE_COORDINATOR": "env:1"}, address: "flag:1", org: "flagged",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newFleet())
			w.vars["XDG_CONFIG_HOME"] = "/cfg"
			maps.Copy(w.vars, tt.vars)
			w.env.Open = oneFile("/cfg/casemate/config.yaml", tt.file)
			if code := w.run(t, append(tt.args, "container", "list")...); code != ExitOK {
				t.Fatalf("exit code %d: %s", code, &w.err)
			}
			org := got[*cv1.ListContainersRequest](w.fleet)[0].GetOrg()
			if w.dial[0] != tt.address || org != tt.org {
				t.Errorf("asked %s for org %s, want %s and %s", w.dial[0], org, tt.address, tt.org)
			}
		})
	}
}

func TestAWrongContextFileIsToldWithItsLine(t *testing.T) {
	w := newWorld(t, newFleet())
	w.env.Home = "/home/me"
	w.env.Open = oneFile("/home/me/.config/casemate/config.yaml", "adress: x\n")
	if code := w.run(t, "container", "list"); code != ExitFailed || !strings.Contains(w.err.String(), "adress") {
		t.Errorf("exit code %d: %s", code, &w.err)
	}
}

func TestACallIsRepeatedWhileACoordinatorStarts(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.unavailable = 2
	if code := w.run(t, "container", "list"); code != ExitOK {
		t.Errorf("exit code %d: %s", code, &w.err)
	}
	if n := len(got[*cv1.ListContainersRequest](w.fleet)); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestAContainerThatIsGoneOrReplacedEndsADeletion(t *testing.T) {
	other := webContainer()
	other.Uid = "e1e1e1"
	for name, set := range map[string]func(*fleet){
		"another has taken its name": func(f *fleet) { f.goes = []*cv1.Container{other} },
		"the watch finds nothing":    func(f *fleet) { f.refuse["WatchContainersRequest"] = noContainer("web") },
	} {
		w := newWorld(t, newFleet())
		set(w.fleet)
		if code := w.run(t, "container", "delete", "web", "--yes"); code != ExitOK || !strings.Contains(w.out.String(), "web is deleted") {
			t.Errorf("%s: exit code %d: %s%s", name, code, &w.out, &w.err)
		}
	}
}

func TestCtrlCWhileAContainerStopsSaysThatItGoesOn(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.goes = []*cv1.Container{inStatus(webContainer(), cv1.ContainerStatus_CONTAINER_STATUS_STOPPING)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-w.fleet.quiet
		cancel()
	}()
	if code := Run(ctx, []string{"container", "stop", "web", "--yes"}, w.env); code != ExitInterrupted || !strings.Contains(w.err.String(), "it goes on: casemate container get web") {
		t.Errorf("exit code %d: %s", code, &w.err)
	}
}

func TestExitCodesTellAnswersFromSilence(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"refused with a reason":               {rpc.Precondition("NO", "x", "no"), ExitFailed},
		"the repository, not the coordinator": {rpc.Error(codes.Unavailable, "REPOSITORY_UNREACHABLE", "no answer"), ExitFailed},
		"the coordinator stops":               {rpc.Error(codes.Unavailable, "STOPPING", "try again"), ExitUnreachable},
		"no connection":                       {status.Error(codes.Unavailable, "refused"), ExitUnreachable},
		"no answer in time":                   {status.Error(codes.DeadlineExceeded, "late"), ExitUnreachable},
		"our own deadline":                    {context.DeadlineExceeded, ExitUnreachable},
		"interrupted":                         {status.Error(codes.Canceled, "ctrl-c"), ExitInterrupted},
		"something local":                     {errors.New("disk full"), ExitFailed},
		"nothing":                             {nil, ExitOK},
	} {
		if got := (&app{running: true}).exitCode(tt.err); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.want)
		}
	}
}
