package grouptest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Offset is partition.Offset.
type Offset = partition.Offset

func offsets(c *check) {
	c.ok(c.c.Commit(c.Context(), group.CommitRequest{Membership: c.outside(), Offsets: map[partition.TopicPartition]group.CommittedOffset{
		c.at(0): {Offset: 7, LeaderEpoch: 3, Metadata: "m"}, c.at(1): {Offset: 9, LeaderEpoch: partition.LeaderEpochUnknown},
	}}), "commit")
	c.ok(c.commit(c.outside(), 1, 4), "commit of an earlier offset")
	equal(c, c.committed(), [3]Offset{7, 4, -1}, "offsets")
	some, err := c.c.Offsets(c.Context(), group.OffsetsRequest{Group: c.group, Partitions: []partition.TopicPartition{c.at(0), c.at(2)}})
	c.ok(err, "offsets")
	equal(c, len(some), 1, "partitions that have one")
	equal(c, some[c.at(0)].LeaderEpoch, 3, "leader epoch")
	equal(c, some[c.at(0)].Metadata, "m", "metadata")
	equal(c, some[c.at(0)].Time.UnixMilli(), c.on.Clock.Now().UnixMilli(), "time")
	c.ok(c.c.DeleteOffsets(c.Context(), c.group, c.at(0)), "delete an offset")
	equal(c, c.committed(), [3]Offset{-1, 4, -1}, "offsets")
}

func badOffsets(c *check) {
	c.is(c.commit(c.outside(), 99, 1), partition.ErrUnknownTopicOrPartition, "a partition that is not there")
	c.is(c.commit(c.outside(), 0, -5), group.ErrInvalidCommitOffset, "a negative offset")
	err := c.c.Commit(c.Context(), group.CommitRequest{Membership: c.outside(), Offsets: map[partition.TopicPartition]group.CommittedOffset{
		c.at(0): {Offset: 1}, c.at(1): {Offset: 1, Metadata: strings.Repeat("x", 5000)}, c.at(2): {Offset: 1, TopicID: partition.TopicID{1}},
	}})
	refused, typed := errors.AsType[*group.CommitError](err)
	if !typed || len(refused.Partitions) != 2 {
		c.Fatalf("a commit of good and bad offsets: %v", err)
	}
	c.is(refused.Partitions[c.at(1)], group.ErrOffsetMetadataTooLarge, "metadata of 5000 bytes")
	c.is(refused.Partitions[c.at(2)], partition.ErrUnknownTopicID, "another topic's id")
	equal(c, c.committed(), [3]Offset{1, -1, -1}, "offsets: the good one counts")
}

func offsetsInTransaction(c *check) {
	p, err := c.s.InitProducerID(c.Context(), c.group, time.Minute, partition.NoProducerID)
	c.ok(err, "init producer id")
	commit := func(o Offset) error {
		return c.c.Commit(c.Context(), group.CommitRequest{
			Membership: c.outside(), Offsets: map[partition.TopicPartition]group.CommittedOffset{c.at(0): {Offset: o}},
			Txn: &group.TxnCommit{TransactionalID: c.group, Producer: p},
		})
	}
	end := func(commit bool) {
		c.Helper()
		p, err = c.s.EndTxn(c.Context(), c.group, p, commit)
		c.ok(err, "end")
		c.soon("the group has heard of it", func() bool {
			_, err := c.c.Offsets(c.Context(), group.OffsetsRequest{Group: c.group, RequireStable: true})
			return err == nil
		})
	}
	c.ok(commit(3), "commit in a transaction")
	_, err = c.c.Offsets(c.Context(), group.OffsetsRequest{Group: c.group, RequireStable: true})
	unstable, typed := errors.AsType[*group.OffsetsError](err)
	if !typed || !errors.Is(unstable.Partitions[c.at(0)], group.ErrUnstableOffsetCommit) {
		c.Fatalf("stable offsets while the transaction is open: %v", err)
	}
	equal(c, c.committed(), [3]Offset{-1, -1, -1}, "offsets while it is open")
	end(false)
	equal(c, c.committed(), [3]Offset{-1, -1, -1}, "offsets after an abort")
	c.ok(commit(4), "commit in the next")
	end(true)
	equal(c, c.committed(), [3]Offset{4, -1, -1}, "offsets after a commit")
	old := p
	_, err = c.s.InitProducerID(c.Context(), c.group, time.Minute, partition.NoProducerID)
	c.ok(err, "a newer producer")
	p = old
	c.is(commit(5), partition.ErrInvalidProducerEpoch, "commit of a producer that is fenced")
	equal(c, c.committed(), [3]Offset{4, -1, -1}, "offsets")
}

func recreatedTopic(c *check) {
	c.ok(c.commit(c.outside(), 0, 5), "commit")
	c.ok(c.s.DeleteTopic(c.Context(), c.group), "delete")
	_, err := c.s.CreateTopic(c.Context(), c.group, partition.TopicConfig{Partitions: 3})
	c.ok(err, "create")
	c.soon("the offset is gone", func() bool { return c.committed() == [3]Offset{-1, -1, -1} })
	c.ok(c.commit(c.outside(), 0, 1), "commit")
	equal(c, c.committed(), [3]Offset{1, -1, -1}, "offsets")
}

func groups(c *check) {
	m := c.enter("")
	d, err := c.c.Describe(c.Context(), c.group)
	c.ok(err, "describe")
	equal(c, d.State, group.Stable, "state")
	equal(c, d.Generation, 1, "generation")
	equal(c, len(d.Members), 1, "members")
	listed := func() bool {
		all, err := c.c.ListGroups(c.Context(), group.ListGroupsRequest{})
		c.ok(err, "list groups")
		return slices.ContainsFunc(all, func(l group.Listing) bool { return l.Group == c.group })
	}
	equal(c, listed(), true, "that it is listed")
	c.is(c.c.DeleteGroups(c.Context(), c.group), group.ErrGroupNotEmpty, "delete a group with a member")
	c.ok(c.commit(m.Membership, 0, 1), "commit")
	c.ok(c.c.Leave(c.Context(), c.group, group.LeavingMember{MemberID: m.MemberID}), "leave")
	d, err = c.c.Describe(c.Context(), c.group)
	c.ok(err, "describe")
	equal(c, d.State, group.Empty, "state")
	c.ok(c.c.DeleteGroups(c.Context(), c.group), "delete")
	c.is(c.c.DeleteGroups(c.Context(), c.group), group.ErrGroupIDNotFound, "delete again")
	equal(c, listed(), false, "that it is listed")
	equal(c, c.committed(), [3]Offset{-1, -1, -1}, "offsets")
	d, err = c.c.Describe(c.Context(), c.group)
	c.ok(err, "describe")
	equal(c, d.State, group.Dead, "state of a group that is not there")
}

func reopened(c *check) (after func(*check)) {
	m := c.enter("")
	c.ok(c.commit(m.Membership, 0, 7), "commit")
	return func(c *check) {
		m.c = c
		equal(c, c.committed(), [3]Offset{7, -1, -1}, "offsets")
		c.ok(m.heartbeat(), "heartbeat of a member of before")
		c.ok(c.commit(m.Membership, 0, 8), "commit of a member of before")
		equal(c, c.committed(), [3]Offset{8, -1, -1}, "offsets")
	}
}
