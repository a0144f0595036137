package kafkatest_test

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// descriptors counts what the process has open; -1 where that cannot be seen.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// settles waits until no more is in use than before; connections and goroutines of a client end a little after its Close.
func settles(t *testing.T, what string, before int, now func() int) {
	t.Helper()
	ctx := bound(t)
	for now() > before {
		if ctx.Err() != nil {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d %s, and %d before\n%s", now(), what, before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAThousandClustersLeakNothing(t *testing.T) {
	one := func(i int) {
		c, err := kafkatest.Start(kafkatest.Topic("orders", 1))
		require.NoError(t, err)
		if i%20 == 0 { // attached to the end
			k, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("orders"), kgo.ProducerLinger(0))
			require.NoError(t, err)
			defer k.Close()
			require.NoError(t, k.ProduceSync(bound(t), kgo.StringRecord("x")).FirstErr())
		}
		if i%100 == 0 {
			require.NoError(t, c.Crash(kafkatest.Kill))
		}
		require.NoError(t, c.Close())
	}
	for i := range 20 {
		one(i)
	}
	goroutines, open := runtime.NumGoroutine(), descriptors()
	for i := range 1000 {
		one(i)
	}
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
	settles(t, "descriptors", open, descriptors)
}

func TestManyClustersAtOnceAreIsolated(t *testing.T) {
	var wg sync.WaitGroup
	clusters := make([]*kafkatest.Cluster, 200)
	for i := range clusters {
		clusters[i] = kafkatest.New(t, kafkatest.Topic("orders", 1))
	}
	for i, c := range clusters {
		wg.Go(func() {
			if _, err := c.Produce(bound(t), "orders", 0, kafkatest.Record{Value: []byte(fmt.Sprint(i))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, c := range clusters {
		require.Equal(t, []string{fmt.Sprint(i)}, values(t, c, "orders", 0))
	}
	addrs := map[string]bool{}
	for _, c := range clusters {
		addrs[c.Bootstrap()] = true
	}
	require.Len(t, addrs, len(clusters))
}
