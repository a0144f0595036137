package kafkatest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// joined is a member of group billing that reads topic orders over a backend.
func joined(t *testing.T, b *kafkatest.Backend, config consumer.Config) *consumer.Consumer {
	t.Helper()
	g, err := group.Open(b, "billing", group.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	config.Topics = []string{"orders"}
	c, err := consumer.Join(bound(t), g, config)
	require.NoError(t, err)
	return c
}

// appendValues appends records to a partition of topic orders.
func appendValues(t testing.TB, s *partition.Store, p int32, values ...string) {
	t.Helper()
	for _, v := range values {
		_, err := s.Append(t.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "orders", Partition: p}, Batch: partitiontest.Batch(kafkatest.Record{Value: []byte(v)})})
		require.NoError(t, err)
	}
}

// committed is what the group has in partition 0 of topic orders, past all rules; -1 for nothing.
func committed(t testing.TB, s *partition.Store) partition.Offset {
	t.Helper()
	all, err := group.Start(s, group.CoordinatorConfig{})
	require.NoError(t, err)
	at, err := all.Find(bound(t), "billing")
	require.NoError(t, err)
	offsets, err := at.Offsets(bound(t), group.OffsetsRequest{Group: "billing"})
	require.NoError(t, err)
	if o, ok := offsets[partition.TopicPartition{Topic: "orders"}]; ok {
		return o.Offset
	}
	return -1
}

// A commit whose answer is lost is an error to who made it, whether it took effect or not, and the consumer goes on: the next
// commit, or the one at its end, says all that this one said, so that nothing is read twice.
func TestAConsumerGoesOnBehindALostCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for lost := 1; lost <= 3; lost++ {
			t.Run(fmt.Sprintf("applied=%t,commit=%d", applied, lost), func(t *testing.T) {
				b, store := backend(t, kafkatest.BackendConfig{}, "orders")
				appendValues(t, store, 0, "a", "b", "c")
				rule := b.Inject(kafkatest.Rule{API: "OffsetCommit", Group: "billing", Nth: lost, Times: 1, Close: true, Apply: applied})
				c := joined(t, b, consumer.Config{Until: consumer.UntilEnd(), CommitInterval: consumer.NoInterval})
				var values []string
				for r, err := range consumer.Records(bound(t), c, consumer.String, consumer.String) {
					require.NoError(t, err)
					values = append(values, r.Value)
					before := committed(t, store)
					err := c.CommitRecord(bound(t), r.Raw, "")
					if len(values) != lost {
						require.NoError(t, err)
						require.Equal(t, r.Offset+1, committed(t, store))
						continue
					}
					require.ErrorIs(t, err, kafkatest.ErrLost)
					require.True(t, partition.Retriable(err))
					if applied {
						before = r.Offset + 1
					}
					require.Equal(t, before, committed(t, store))
				}
				require.Equal(t, []string{"a", "b", "c"}, values)
				require.Equal(t, 1, rule.Hits())
				require.NoError(t, c.Close())
				require.EqualValues(t, 3, committed(t, store))
			})
		}
	}
}

// What the consumer commits by itself is tried again after an answer that was lost, at the next interval, and the loop hears nothing.
func TestAConsumerCommitsAgainByItselfBehindLostCommits(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%t", applied), func(t *testing.T) {
			b, store := backend(t, kafkatest.BackendConfig{}, "orders")
			rule := b.Inject(kafkatest.Rule{API: "OffsetCommit", Times: 2, Close: true, Apply: applied})
			tries := make(chan error, 100)
			c := joined(t, b, consumer.Config{CommitInterval: time.Millisecond, Events: consumer.Events{
				Committed: func(_ map[partition.TopicPartition]group.CommittedOffset, err error) {
					select {
					case tries <- err:
					default: // the test has seen enough
					}
				},
			}})
			appendValues(t, store, 0, "a", "b")
			for r, err := range c.Records(bound(t)) {
				require.NoError(t, err)
				if r.Offset == 1 {
					break // what is acknowledged is the first
				}
			}
			for want := range 3 {
				select {
				case err := <-tries:
					if want < 2 {
						require.ErrorIs(t, err, kafkatest.ErrLost)
					} else {
						require.NoError(t, err)
					}
				case <-bound(t).Done():
					t.Fatal("no commit")
				}
			}
			require.Equal(t, 2, rule.Hits())
			require.NoError(t, c.Close())
			require.EqualValues(t, 1, committed(t, store))
		})
	}
}

// The commit before a partition is given up may be lost as well: the rebalance goes on, and who has the partition then begins at a
// commit that there is, so that nothing is left out.
func TestARebalanceGoesOnBehindALostCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%t", applied), func(t *testing.T) {
			b, store := backend(t, kafkatest.BackendConfig{}, "orders")
			appendValues(t, store, 0, "a", "b", "c")
			appendValues(t, store, 1, "d", "e", "f")
			lost := b.Inject(kafkatest.Rule{API: "OffsetCommit", Times: 1, Close: true, Apply: applied})
			first := joined(t, b, consumer.Config{CommitInterval: consumer.NoInterval})
			seen := 0
			for _, err := range first.Records(bound(t)) {
				require.NoError(t, err)
				if seen++; seen == 6 {
					break // five are finished
				}
			}
			second := joined(t, b, consumer.Config{CommitInterval: consumer.NoInterval})
			appendValues(t, store, 0, "g")
			appendValues(t, store, 1, "h")
			for r, err := range second.Records(bound(t)) {
				require.NoError(t, err)
				require.LessOrEqual(t, r.Offset, partition.Offset(3))
				break
			}
			require.Equal(t, 1, lost.Hits())
			require.NoError(t, second.Close())
			require.NoError(t, first.Close())
		})
	}
}

// The commit at the end is lost too: Close says so, and ends.
func TestCloseSaysThatItsCommitWasLost(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%t", applied), func(t *testing.T) {
			b, store := backend(t, kafkatest.BackendConfig{}, "orders")
			appendValues(t, store, 0, "a", "b")
			b.Inject(kafkatest.Rule{API: "OffsetCommit", Close: true, Apply: applied})
			c := joined(t, b, consumer.Config{Until: consumer.UntilEnd(), CommitInterval: consumer.NoInterval})
			n := 0
			for _, err := range c.Records(bound(t)) {
				require.NoError(t, err)
				n++
			}
			require.Equal(t, 2, n)
			require.ErrorIs(t, c.Close(), kafkatest.ErrLost)
			if applied {
				require.EqualValues(t, 2, committed(t, store))
			} else {
				require.EqualValues(t, -1, committed(t, store))
			}
		})
	}
}
