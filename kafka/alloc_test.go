package kafka

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// What a Produce and a Fetch cost does not depend on how many records they carry: a thousand are a few allocations more
// than one at the very most, for buffers that grow once.
func TestRecordsCostNoAllocations(t *testing.T) {
	onOneStore(t, "allocations of the process are counted, and nodes fetch meanwhile")
	const rounds = 5
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{MaxMessageBytes: 1 << 20})
	s := r.session(1)
	ask := func(version int16, req kmsg.Request) float64 {
		req.SetVersion(version)
		frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 7)[4:]
		buf := make([]byte, len(frame))
		least := math.Inf(1) // what others in the process allocate meanwhile counts as well
		for range rounds {
			least = min(least, testing.AllocsPerRun(50, func() {
				copy(buf, frame) // the store stamps the batch in place
				reply, err := s.Frame(t.Context(), buf)
				require.NoError(t, err)
				reply.Release()
			}))
		}
		return least
	}
	values := make([]string, 1000)
	one, many := records(batch.Options{}, "value"), records(batch.Options{}, values...)
	few := ask(12, produceOf("orders", 0, -1, one))
	require.LessOrEqual(t, ask(12, produceOf("orders", 0, -1, many)), few+10)

	few = ask(12, r.fetchOf(0, tpOf("orders", 0)))
	require.LessOrEqual(t, ask(12, r.fetchOf(rounds*51, tpOf("orders", 0))), few+10)
}
