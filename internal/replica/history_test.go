package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestHistory replays, in testdata/history, the schedules in which earlier versions of Kafka's replication lost or mixed up committed records. Each
// step checks that no committed record is gone, that logs are equal below the high watermark and that it never goes back (cluster.note).
// go test -rewrite writes down what happens; the diff is then to be read.
//
//	cluster nodes=(1,2,3) min-isr=1   the first leads; all know it
//	append 1 1 1                      at these nodes, as leaders
//	fetch 2 3                         each a whole round
//	ask 2 | serve 2 [again] | take 2  its parts; again: it will arrive once more
//	learn 1 2 | all                   they have the newest metadata
//	move 2                            the controller makes it the leader
//	fence 3 | unfence 3
//	crash 1 [lose]                    lose: with what is not synced
//	sync 1
//	start 1 [unclean]
//	wait 31s | tick 1
//	propose 1 | alter 1 [lost]        lost: the controller's answer is
//	settle                            all come back, and catch up
//
// Printed are answers that are not plain records, then the state.
func TestHistory(t *testing.T) {
	datadriven.Walk(t, "testdata/history", func(t *testing.T, path string) {
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for _, line := range strings.Split(d.Cmd+" "+argsOf(d)+"\n"+d.Input, "\n") {
				fields := strings.Fields(line)
				if len(fields) == 0 {
					continue
				}
				if fields[0] == "cluster" {
					_, a := parse(fields[1:])
					c = newCluster(t, a.nodes(t, "nodes"), int(a.number(t, "min-isr", 1)))
					continue
				}
				c.run(t, &out, fields)
			}
			out.WriteString(c.describe())
			return out.String()
		})
	})
}

func (c *cluster) run(t require.TestingT, out *strings.Builder, fields []string) {
	c.t = t
	flag := func(name string) bool { return strings.Contains(strings.Join(fields, " ")+" ", " "+name+" ") }
	if fields[0] == "wait" {
		d, err := time.ParseDuration(fields[1])
		require.NoError(t, err)
		c.now += d
		return
	}
	if fields[0] == "settle" {
		c.settle()
		require.True(t, c.settled(), "not all came back: %s", c.describe())
		return
	}
	if flag("all") {
		fields = []string{fields[0], "1", "2", "3"}
	}
	for _, f := range fields[1:] {
		var id NodeID
		if _, err := fmt.Sscan(f, &id); err != nil || c.nodes[id] == nil {
			continue
		}
		n := c.nodes[id]
		switch fields[0] {
		case "append":
			if !c.append(id) {
				fmt.Fprintf(out, "%d does not lead\n", id)
			}
		case "fetch":
			a, step, ok := c.fetch(id)
			c.tell(out, id, a, step, ok)
		case "ask":
			require.True(t, c.ask(id))
		case "serve":
			a, ok := c.serve(id, 0, flag("again"))
			if !ok || a.Code != None {
				fmt.Fprintf(out, "%d is answered %s\n", id, codeName(a.Code))
			}
		case "take":
			step, ok := c.take(id, 0)
			c.tell(out, id, refusal(None), step, ok)
		case "learn":
			c.learn(id, len(c.versions)-1)
		case "move":
			require.True(t, c.control.move(id))
			c.changed()
		case "fence":
			c.fence(id)
		case "unfence":
			c.unfence(id)
		case "crash":
			c.crash(id, flag("lose"), 0)
		case "sync":
			n.synced = n.log.End()
		case "start":
			c.start(id, !flag("unclean"))
		case "tick":
			c.tick(id)
		case "propose":
			p, ok := c.propose(id)
			if !ok {
				fmt.Fprintf(out, "%d has nothing to propose\n", id)
				continue
			}
			fmt.Fprintf(out, "%d proposes %v\n", id, p.ISR)
		case "alter":
			a, ok := c.alter(id, 0, !flag("lost"), false)
			if !ok {
				fmt.Fprintf(out, "%d has nothing on its way\n", id)
				continue
			}
			fmt.Fprintf(out, "controller: %s\n", codeName(a.Code))
		default:
			require.Fail(t, "unknown", fields)
		}
	}
}

func (c *cluster) tell(out *strings.Builder, id NodeID, a Answer, step Step, ok bool) {
	switch {
	case !ok:
		fmt.Fprintf(out, "%d has no answer\n", id)
	case step.Kind == StepTruncate:
		fmt.Fprintf(out, "%d truncates to %d\n", id, step.Offset)
	case step.Kind == StepReset:
		fmt.Fprintf(out, "%d begins anew at %d\n", id, step.Offset)
	case step.Kind == StepWait || step.Kind == StepBackoff:
		fmt.Fprintf(out, "%d is refused: %s\n", id, codeName(step.Code))
	case step.Dropped:
		fmt.Fprintf(out, "%d drops records of a higher epoch\n", id)
	}
}

func (c *cluster) describe() string {
	var out strings.Builder
	m := c.control.meta
	fmt.Fprintf(&out, "controller: leader %d, epoch %d, isr %v, elr %v; committed %d\n", m.Leader, m.LeaderEpoch, m.ISR, c.control.elr, len(c.committed))
	for _, id := range m.Replicas {
		n := c.nodes[id]
		role := "down"
		switch {
		case n.leader != nil:
			role = fmt.Sprintf("leads in epoch %d", n.leader.Epoch())
		case n.follower != nil:
			role = fmt.Sprintf("follows %d in epoch %d", n.follower.Leader(), n.follower.Epoch())
		case n.up:
			role = "knows nobody"
		}
		fmt.Fprintf(&out, "%d %s: %s, high %d\n", id, role, n.log.describe(), n.high)
	}
	return out.String()
}
