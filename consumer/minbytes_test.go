package consumer_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// eachSize is the size of a batch of one record as put1 appends it.
var eachSize = len(partitiontest.Batch(partitiontest.Record{Timestamp: 1000, Value: []byte("v")}))

func put1(t *testing.T, s *spy, number int32) {
	t.Helper()
	put(t, s.Store, "t", number, nil, []byte("v"))
}

// got is what a wait for records ended with, and when.
type got struct {
	records int
	after   time.Duration
	err     error
}

// waits are the ways to wait for records: each returns how many there were.
var waits = map[string]func(*testing.T, *consumer.Consumer) (int, error){
	"Poll": func(t *testing.T, c *consumer.Consumer) (int, error) {
		records, err := c.Poll(t.Context())
		return len(records), err
	},
	"PollBorrowed": func(t *testing.T, c *consumer.Consumer) (n int, err error) {
		run, err := c.PollBorrowed(t.Context())
		if err != nil {
			return 0, err
		}
		defer run.Release()
		for _, err := range run.All() {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	},
	"Records": func(t *testing.T, c *consumer.Consumer) (int, error) {
		for _, err := range c.Records(t.Context()) {
			return 1, err
		}
		return 0, io.EOF
	},
}

// waiting runs a test in each way, in a bubble where time stands still unless everybody waits. begin starts to wait.
func waiting(t *testing.T, partitions int32, c consumer.Config, test func(t *testing.T, way string, s *spy, begin func() chan got)) {
	for way, wait := range waits {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &spy{Store: newStore(t, "t", partitions)}
				var from []consumer.Assignment
				for p := range partitions {
					from = append(from, consumer.Assignment{TopicPartition: at("t", p)})
				}
				reader := s.assign(t, c, from...)
				test(t, way, s, func() chan got {
					done := make(chan got, 1)
					began := time.Now()
					go func() {
						n, err := wait(t, reader)
						done <- got{n, time.Since(began), err}
					}()
					synctest.Wait()
					return done
				})
			})
		})
	}
}

// of is how many of the records that one answer has a way to wait returns at once.
func of(way string, n int) int {
	if way == "Records" {
		return 1
	}
	return n
}

func TestConsumerWaitsForMinBytesNoLongerThanMaxWait(t *testing.T) {
	for maxWait, want := range map[time.Duration]time.Duration{0: 500 * time.Millisecond, 10 * time.Second: 10 * time.Second} {
		t.Run(want.String(), func(t *testing.T) {
			waiting(t, 1, consumer.Config{MinBytes: 2*eachSize + 1, MaxWait: maxWait}, func(t *testing.T, way string, s *spy, begin func() chan got) {
				put1(t, s, 0)
				done := begin()
				require.Empty(t, done, "less than MinBytes is there")
				time.Sleep(want / 2)
				put1(t, s, 0)
				time.Sleep(want/2 - 1)
				synctest.Wait()
				require.Empty(t, done, "still")
				require.Equal(t, got{of(way, 2), want, nil}, <-done, "what is there")
			})
		})
	}
}

func TestConsumerReadsOnAsSoonAsMinBytesAreThere(t *testing.T) {
	waiting(t, 1, consumer.Config{MinBytes: 2*eachSize + 1, MaxWait: time.Hour}, func(t *testing.T, way string, s *spy, begin func() chan got) {
		put1(t, s, 0)
		done := begin()
		time.Sleep(time.Minute)
		put1(t, s, 0)
		synctest.Wait()
		require.Empty(t, done)
		time.Sleep(time.Minute)
		put1(t, s, 0)
		require.Equal(t, got{of(way, 3), 2 * time.Minute, nil}, <-done)
	})
	waiting(t, 1, consumer.Config{MinBytes: eachSize, MaxWait: time.Hour}, func(t *testing.T, way string, s *spy, begin func() chan got) {
		put1(t, s, 0)
		require.Equal(t, got{1, 0, nil}, <-begin(), "exactly as many is enough")
	})
}

func TestMinBytesAreThoseOfAllPartitionsTogether(t *testing.T) {
	waiting(t, 3, consumer.Config{MinBytes: 3 * eachSize, MaxWait: time.Hour}, func(t *testing.T, way string, s *spy, begin func() chan got) {
		put1(t, s, 0)
		put1(t, s, 2)
		done := begin()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, done)
		put1(t, s, 1)
		g := <-done
		require.NoError(t, g.err)
		require.Equal(t, time.Minute, g.after)
		require.Positive(t, g.records)
	})
}

// A wait that ends with nothing is not the loop's: it asks again, and the next MaxWait begins.
func TestConsumerThatGetsNothingInMaxWaitWaitsOn(t *testing.T) {
	waiting(t, 1, consumer.Config{MinBytes: 2 * eachSize, MaxWait: time.Minute}, func(t *testing.T, _ string, s *spy, begin func() chan got) {
		var asked []time.Duration
		s.fetched = func(r partition.FetchRequest, _ []partition.FetchResult) { asked = append(asked, r.MaxWait) }
		done := begin()
		time.Sleep(150 * time.Second)
		synctest.Wait()
		require.Empty(t, done)
		require.Equal(t, []time.Duration{time.Minute, time.Minute}, asked, "once in MaxWait")
		put1(t, s, 0)
		require.Equal(t, got{1, 3 * time.Minute, nil}, <-done, "the third wait is over")
	})
}

// With the default, any record is enough, and nobody polls.
func TestConsumerWithoutMinBytesSleepsUntilARecordWhateverMaxWaitIs(t *testing.T) {
	waiting(t, 1, consumer.Config{MaxWait: time.Minute}, func(t *testing.T, _ string, s *spy, begin func() chan got) {
		fetches := 0
		s.fetched = func(partition.FetchRequest, []partition.FetchResult) { fetches++ }
		done := begin()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.Empty(t, done)
		require.Zero(t, fetches, "the first is not answered yet")
		put1(t, s, 0)
		require.Equal(t, got{1, 24 * time.Hour, nil}, <-done)
	})
}

func TestConsumerThatReadsToTheEndDoesNotWaitForMinBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spy{Store: newStore(t, "t", 1)}
		put1(t, s, 0)
		began := time.Now()
		c := s.assign(t, consumer.Config{MinBytes: 1 << 20, MaxWait: time.Hour}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
		require.Equal(t, []string{"v"}, poll(t, c))
		_, err := c.Poll(t.Context())
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, time.Since(began))
	})
}
