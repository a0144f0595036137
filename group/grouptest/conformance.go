package grouptest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// Store is what groups need of a *partition.Store and of a *replication.Node, with the topics and transactions of the checks.
type Store interface {
	group.Backend
	partitiontest.Store
}

// Subject is what Conformance is run on.
type Subject struct {
	// Store is who is asked: the store, or any node.
	Store Store
	// Clock is that of the coordinators. Checks advance it.
	Clock *partitiontest.Clock
	// Reopen closes everything and opens it again, all nodes at once or one by one; it returns who is asked from then on. It is called once, at the end.
	Reopen func(t *testing.T) Store
}

// Conformance checks that the groups of a store, or of the nodes of a cluster, keep the contract of group.Coordinator, for members that are elsewhere. All checks
// share the subject, one after the other, each with a topic and groups of its own.
func Conformance(t *testing.T, s *Subject) {
	for _, claim := range []struct {
		name  string
		check func(*check)
	}{
		{"AMemberGetsWhatTheLeaderAssigns", assigned},
		{"AFirstJoinIsToldItsMemberID", memberIDRequired},
		{"AnotherMemberBeginsAnotherGeneration", generations},
		{"MembersOfAnOldGenerationAreFenced", oldGeneration},
		{"AMemberThatIsSilentIsRemoved", silence},
		{"AStaticMemberKeepsItsPlace", staticMember},
		{"CommittedOffsetsAreReadBack", offsets},
		{"OffsetsOfWhatIsNotThereAreRefused", badOffsets},
		{"OffsetsInATransactionCountWhenItCommits", offsetsInTransaction},
		{"ARecreatedTopicDoesNotInheritOffsets", recreatedTopic},
		{"GroupsAreDescribedListedAndDeleted", groups},
		{"AMemberOfTheNewProtocolGetsAllPartitions", consumerGroup},
		{"AnOldMemberEpochIsFenced", memberEpoch},
	} {
		t.Run(claim.name, func(t *testing.T) { claim.check(begin(t, s, t.Name())) })
	}
	t.Run("Reopen", func(t *testing.T) {
		c := begin(t, s, t.Name())
		after := reopened(c)
		s.Store = s.Reopen(t)
		t.Run("OffsetsAndMembersAreThereAfterAReopen", func(t *testing.T) { after(resume(t, s, c.group)) })
	})
}

// check is one check while it runs, of a group and a topic of three partitions that have one name.
type check struct {
	*testing.T
	s     Store
	on    *Subject
	group string
	c     group.Coordinator
}

func begin(t *testing.T, s *Subject, name string) *check {
	t.Helper()
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == ',' || r == ' ' || r == '_' {
			return '.'
		}
		return r
	}, name)
	c := resume(t, s, name)
	_, err := c.s.CreateTopic(c.Context(), name, partition.TopicConfig{Partitions: 3})
	c.ok(err, "create topic")
	return c
}

// resume is a check of a group that is there.
func resume(t *testing.T, s *Subject, name string) *check {
	t.Helper()
	c := &check{T: t, s: s.Store, on: s, group: name}
	all, err := group.Start(c.s, group.CoordinatorConfig{Clock: s.Clock})
	c.ok(err, "start the coordinators")
	c.c, err = all.Find(c.Context(), name)
	c.ok(err, "find the coordinator")
	return c
}

func (c *check) ok(err error, what string) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

func (c *check) is(err, want error, what string) {
	c.Helper()
	if !errors.Is(err, want) {
		c.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

func equal[V comparable](c *check, got, want V, what string) {
	c.Helper()
	if got != want {
		c.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// soon asks until something is true that becomes true without a further call.
func (c *check) soon(what string, is func() bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Minute)
	defer cancel()
	for !is() {
		c.ok(ctx.Err(), what)
		over := make(chan struct{})
		stop := clock.System.AfterFunc(time.Millisecond, func() { close(over) })
		select {
		case <-over:
		case <-ctx.Done():
		}
		stop()
	}
}

func (c *check) at(p int32) partition.TopicPartition {
	return partition.TopicPartition{Topic: c.group, Partition: p}
}

// committed are the group's offsets, by partition; -1 where there is none.
func (c *check) committed() (all [3]partition.Offset) {
	c.Helper()
	found, err := c.c.Offsets(c.Context(), group.OffsetsRequest{Group: c.group})
	c.ok(err, "offsets")
	for p := range all {
		all[p] = -1
		if o, ok := found[c.at(int32(p))]; ok {
			all[p] = o.Offset
		}
	}
	return all
}

// commit commits an offset of a partition.
func (c *check) commit(m group.Membership, p int32, o partition.Offset) error {
	return c.c.Commit(c.Context(), group.CommitRequest{Membership: m, Offsets: map[partition.TopicPartition]group.CommittedOffset{
		c.at(p): {Offset: o, LeaderEpoch: partition.LeaderEpochUnknown},
	}})
}

// outside is who commits without being a member.
func (c *check) outside() group.Membership {
	return group.Membership{Group: c.group, Generation: group.NoGeneration}
}
