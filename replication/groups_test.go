package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// coordinatorOf is who coordinates a group.
func coordinatorOf(t *testing.T, n *Node, name string) (node int32) {
	t.Helper()
	count := int32(0)
	n.control.read(func(m *control.Machine) { _, count, _ = m.TopicID(group.OffsetsTopic) })
	ctx := patient(t)
	until(ctx, t, n, "the group has a coordinator", func() bool { // none for a moment when a node is fenced, also one that is only slow
		var err error
		node, err = n.leader(partition.TopicPartition{Topic: group.OffsetsTopic, Partition: group.PartitionFor(name, count)}, partition.TopicID{})
		return err == nil
	})
	return node
}

// join makes a consumer of a node in a group; it ends with the test.
func join(ctx context.Context, t *testing.T, n *Node, name, topic string) *consumer.Consumer {
	t.Helper()
	g, err := group.Open(n, name, group.Config{})
	require.NoError(t, err)
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{topic}})
	require.NoError(t, err)
	return c
}

// consume reads until a number of values has been seen.
func consume(ctx context.Context, t *testing.T, c *consumer.Consumer, want int, seen map[string]int) {
	t.Helper()
	for r, err := range c.Records(ctx) {
		require.NoError(t, err)
		seen[string(r.Value)]++
		if len(seen) >= want {
			return
		}
	}
}

// What no node knows is not waited for: whoever is asked, and wherever the coordinator is.
func TestOffsetsOfWhatIsNotThereAreRefusedAtOnce(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) { calm(c); c.RequestTimeout = time.Hour }})
	ctx := patient(t)
	small(t, l)
	topic(t, l, 1)
	for _, n := range l.Nodes() {
		info(ctx, t, n, orders) // it knows the topic; the coordinator need not
		s, err := group.Start(n, group.CoordinatorConfig{})
		require.NoError(t, err)
		c, err := s.Find(ctx, "billing")
		require.NoError(t, err)
		commit := func(tp partition.TopicPartition, id partition.TopicID) error {
			return c.Commit(ctx, group.CommitRequest{
				Membership: group.Membership{Group: "billing", Generation: group.NoGeneration}, Offsets: map[partition.TopicPartition]group.CommittedOffset{tp: {Offset: 1, TopicID: id}},
			})
		}
		require.ErrorIs(t, commit(partition.TopicPartition{Topic: "nowhere"}, partition.TopicID{}), partition.ErrUnknownTopicOrPartition)
		require.ErrorIs(t, commit(partition.TopicPartition{Topic: orders.Topic, Partition: 1}, partition.TopicID{}), partition.ErrUnknownTopicOrPartition)
		require.ErrorIs(t, commit(orders, partition.TopicID{1}), partition.ErrUnknownTopicID)
		require.NoError(t, commit(orders, partition.TopicID{}))
		require.NoError(t, ctx.Err(), "they were asked again until the time was over")
	}
}

func TestGroupsAreCoordinatedByWhomeverLeadsTheirPartition(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	_, err = book.write(ctx, produce(t, l.Node(1), producer.Config{}), 30)
	require.NoError(t, err)
	where := map[int32]bool{}
	for i := range 6 {
		name := fmt.Sprint("billing-", i)
		n := l.Nodes()[i%3]
		c := join(ctx, t, n, name, "orders")
		seen := map[string]int{}
		consume(ctx, t, c, 30, seen)
		require.NoError(t, c.Commit(ctx))
		require.NoError(t, c.Close())
		where[coordinatorOf(t, n, name)] = true
	}
	require.Greater(t, len(where), 1, "groups are spread")
	admin, err := group.Open(l.Node(2), "billing-0", group.Config{})
	require.NoError(t, err)
	defer admin.Close()
	s, err := group.Start(l.Node(2), group.CoordinatorConfig{})
	require.NoError(t, err)
	c, err := s.Find(ctx, "")
	require.NoError(t, err)
	all, err := c.ListGroups(ctx, group.ListGroupsRequest{})
	require.NoError(t, err)
	require.Len(t, all, 6)
	for i := range 6 {
		offsets, err := c.Offsets(ctx, group.OffsetsRequest{Group: fmt.Sprint("billing-", i)})
		require.NoError(t, err)
		sum := partition.Offset(0)
		for _, o := range offsets {
			sum += o.Offset
		}
		require.EqualValues(t, 29, sum, "the last one's loop body was left")
	}
	require.NoError(t, c.DeleteGroups(ctx, "billing-0", "billing-1"))
	require.ErrorIs(t, c.DeleteGroups(ctx, "billing-0"), group.ErrGroupIDNotFound)
}

func TestAGroupCarriesOnWhenItsCoordinatorDies(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(1), producer.Config{})
	_, err = book.write(ctx, p, 10)
	require.NoError(t, err)
	name := ""
	for i := 0; name == ""; i++ { // a group that node 1 does not coordinate
		candidate := fmt.Sprint("billing-", i)
		c := join(ctx, t, l.Node(1), candidate, "orders")
		if at := coordinatorOf(t, l.Node(1), candidate); at != 1 {
			name = candidate
		}
		require.NoError(t, c.Close())
	}
	c := join(ctx, t, l.Node(1), name, "orders")
	defer c.Close()
	seen := map[string]int{}
	consume(ctx, t, c, 10, seen)
	require.NoError(t, c.Commit(ctx))
	victim := coordinatorOf(t, l.Node(1), name)
	require.NoError(t, l.Kill(victim))
	_, err = book.write(ctx, p, 20)
	require.NoError(t, err)
	consume(ctx, t, c, 30, seen)
	require.NoError(t, c.Commit(ctx))
	require.NotEqual(t, victim, coordinatorOf(t, l.Node(1), name))
	again := 0
	for _, times := range seen {
		again += times - 1
	}
	require.LessOrEqual(t, again, 1, "but for the one whose loop body was left: no rebalance made them come again")
}

func TestTransactionsAreWholeAcrossTheDeathOfTheirCoordinator(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	var all sync.WaitGroup
	committed := make([]map[string]bool, 4)
	killed := make(chan struct{})
	for i := range committed {
		committed[i] = map[string]bool{}
		p := produce(t, l.Node(1), producer.Config{TransactionalID: fmt.Sprint("teller-", i)})
		all.Go(func() {
			for round := range 12 {
				if round == 6 {
					<-killed
				}
				values := []string{}
				err := p.Transact(ctx, func(tx *producer.Tx) error {
					for k := range 3 {
						v := fmt.Sprintf("%d/%d/%d", i, round, k)
						values = append(values, v)
						if _, err := tx.Send(ctx, producer.Record{Topic: "orders", Partition: producer.To(int32(k)), Value: []byte(v)}); err != nil {
							return err
						}
					}
					if round%4 == 3 {
						return errChanged
					}
					return nil
				})
				if err == nil {
					for _, v := range values {
						committed[i][v] = true
					}
				} else if !errors.Is(err, errChanged) {
					t.Errorf("teller %d, round %d: %v", i, round, err)
				}
			}
		})
	}
	require.NoError(t, l.Kill(3))
	close(killed)
	all.Wait()
	seen := read(ctx, t, l.Node(1), "orders", consumer.ReadCommitted)
	for _, one := range committed {
		for v := range one {
			require.Equal(t, 1, seen[v], "record %s", v)
			delete(seen, v)
		}
	}
	require.Empty(t, seen, "what was aborted is not read")
}

// A rebalance waits for members who are busy, or dead, longer than any other request takes.
func TestAJoinMayTakeLongerThanARequest(t *testing.T) {
	l := local(t, LocalConfig{Nodes: 2, Change: func(c *Config) {
		calm(c)
		c.RequestTimeout, c.Groups.InitialRebalanceDelay = 800*time.Millisecond, 1500*time.Millisecond
	}})
	ctx := patient(t)
	var joined sync.WaitGroup
	for _, n := range l.Nodes() { // one of them coordinates the group
		s, err := group.Start(n, group.CoordinatorConfig{})
		require.NoError(t, err)
		defer s.Close()
		c, err := s.Find(ctx, "billing")
		require.NoError(t, err)
		request := group.JoinRequest{
			Group: "billing", ClientID: "clerk", Local: true, SessionTimeout: time.Minute, RebalanceTimeout: 2 * time.Minute,
			ProtocolType: group.ProtocolTypeConsumer, Protocols: []group.Protocol{{Name: "range", Metadata: []byte{0}}},
		}
		eventually(ctx, t, "a member gets an id", func() bool {
			answer, err := c.Join(ctx, request)
			request.MemberID = answer.MemberID
			return errors.Is(err, group.ErrMemberIDRequired)
		})
		joined.Go(func() {
			answer, err := c.Join(ctx, request)
			if err != nil || answer.MemberID != request.MemberID {
				t.Errorf("%+v: %v", answer, err)
			}
		})
	}
	joined.Wait()
}

var errChanged = errors.New("changed my mind")
