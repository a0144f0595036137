package control

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
)

// broker is one of the cluster's, as JSON.
type broker struct {
	ID      int32  `json:"id"`
	Rack    string `json:"rack,omitempty"`
	Address string `json:"address"` // of the first listener
}

// clusterView is GET /v1/cluster.
type clusterView struct {
	Bootstrap string      `json:"bootstrapServers"`
	ClusterID string      `json:"clusterId"`
	Brokers   []broker    `json:"brokers"`
	Crashes   int         `json:"crashes"`
	Time      time.Time   `json:"time"` // by the cluster's clock
	Stats     kafka.Stats `json:"stats"`
}

func (h *Handler) clusterRoutes() {
	c := h.cluster
	h.on("GET /v1/cluster", func(*http.Request) (answer, error) { return viewOf(c), nil })
	h.on("POST /v1/crash", func(r *http.Request) (answer, error) {
		var in struct {
			Kind string `json:"kind"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		kinds := map[string]kafkatest.CrashKind{"": kafkatest.Kill}
		for _, k := range []kafkatest.CrashKind{kafkatest.Kill, kafkatest.PowerLoss, kafkatest.TornWrite} {
			kinds[k.String()] = k
		}
		kind, ok := kinds[in.Kind]
		if !ok {
			return nil, bad("there is no crash %q: kill, power-loss or torn-write", in.Kind)
		}
		if err := c.Crash(kind); err != nil {
			return nil, err
		}
		return viewOf(c), nil
	})
	h.on("GET /v1/crashes/wait", func(r *http.Request) (answer, error) {
		n, err := query(r, "count", int64(c.Crashes()+1))
		if err != nil {
			return nil, err
		}
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		return viewOf(c), late(c.WaitCrash(ctx, int(n)))
	})
	h.on("POST /v1/reopen", func(*http.Request) (answer, error) { return nil, c.Reopen() })

	h.on("GET /v1/clock", func(*http.Request) (answer, error) { return clockView(c), nil })
	h.on("POST /v1/clock/advance", func(r *http.Request) (answer, error) {
		var in struct {
			By span `json:"by"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		if in.By <= 0 {
			return nil, bad("by is to be a time above 0, such as \"30s\"")
		}
		c.Clock().Advance(time.Duration(in.By))
		return clockView(c), nil
	})

	h.on("POST /v1/brokers", func(r *http.Request) (answer, error) {
		var in struct {
			Rack string `json:"rack"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		id, err := c.AddBroker(in.Rack)
		if err != nil {
			return nil, err
		}
		for _, b := range viewOf(c).Brokers {
			if b.ID == id {
				return b, nil
			}
		}
		return broker{ID: id}, nil
	})
	for name, do := range map[string]func(id int32) error{"stop": c.StopBroker, "start": c.StartBroker, "restart": c.RestartBroker} {
		h.on("POST /v1/brokers/{id}/"+name, func(r *http.Request) (answer, error) {
			id, err := small(r, "id")
			if err != nil {
				return nil, err
			}
			return nil, do(id)
		})
	}
}

func viewOf(c *kafkatest.Cluster) clusterView {
	server := c.Server()
	v := clusterView{Bootstrap: c.Bootstrap(), ClusterID: server.ClusterID(), Crashes: c.Crashes(), Time: c.Clock().Now(), Stats: server.Stats()}
	for _, b := range server.Brokers() {
		host, port, _ := b.Addr("")
		v.Brokers = append(v.Brokers, broker{b.ID(), b.Rack(), net.JoinHostPort(host, strconv.Itoa(int(port)))})
	}
	return v
}

func clockView(c *kafkatest.Cluster) answer {
	now := c.Clock().Now()
	return map[string]any{"time": now.UTC().Format(time.RFC3339Nano), "millis": now.UnixMilli(), "frozen": c.Clock().Frozen()}
}
