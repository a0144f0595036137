package kafkatest

import (
	"context"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
)

// Assertions end a test that does not hold. Each is a method of Cluster, or a function, that returns an error instead. They
// are to be used on the test's goroutine (testing.TB.FailNow).
type Assertions struct {
	t       testing.TB
	c       *Cluster
	ctx     context.Context
	patient time.Duration
}

// Assert returns the assertions about a cluster for a test. They wait a minute for what is to come: see Within.
func (c *Cluster) Assert(t testing.TB) *Assertions {
	return &Assertions{t: t, c: c, ctx: t.Context(), patient: time.Minute}
}

// Within returns assertions that wait for so long, or until ctx ends.
func (a *Assertions) Within(ctx context.Context, d time.Duration) *Assertions {
	return &Assertions{t: a.t, c: a.c, ctx: ctx, patient: d}
}

func (a *Assertions) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(a.ctx, a.patient)
}

func (a *Assertions) require(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("kafkatest: %v", err)
	}
}

// Records waits until a topic has n committed records, requires that it has no more, and returns them, partition by partition.
func (a *Assertions) Records(topic string, n int) []Record {
	a.t.Helper()
	ctx, cancel := a.context()
	defer cancel()
	all, err := a.c.WaitRecords(ctx, topic, n)
	a.require(err)
	if len(all) != n {
		a.t.Fatalf("kafkatest: topic %q has %d records, not %d", topic, len(all), n)
	}
	return all
}

// LagZero waits until a group has finished everything: see Cluster.WaitLagZero.
func (a *Assertions) LagZero(group string, topics ...string) {
	a.t.Helper()
	ctx, cancel := a.context()
	defer cancel()
	a.require(a.c.WaitLagZero(ctx, group, topics...))
}

// Stable waits until a group is stable with n members.
func (a *Assertions) Stable(group string, n int) {
	a.t.Helper()
	ctx, cancel := a.context()
	defer cancel()
	a.require(a.c.WaitStable(ctx, group, n))
}

// Delivered waits until a topic has as many committed records as sent, and requires that they are these, each once, and those
// of a key in the order of sent.
func (a *Assertions) Delivered(topic string, sent []Record) {
	a.t.Helper()
	ctx, cancel := a.context()
	defer cancel()
	got, err := a.c.WaitRecords(ctx, topic, len(sent))
	a.require(err)
	a.require(CheckDelivered(sent, got))
}

// Committed requires that a group has committed exactly these offsets.
func (a *Assertions) Committed(group string, want map[partition.TopicPartition]partition.Offset) {
	a.t.Helper()
	ctx, cancel := a.context()
	defer cancel()
	a.require(a.c.CheckCommitted(ctx, group, want))
}

// Requested waits until clients have sent n such requests at least, and returns them.
func (a *Assertions) Requested(f CallFilter, n int) []Call {
	a.t.Helper()
	ctx, cancel := a.context()
	defer cancel()
	found, err := a.c.WaitRequests(ctx, f, n)
	a.require(err)
	return found
}
