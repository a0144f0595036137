package control

import (
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// callView is a request that a client has sent, and its answer.
type callView struct {
	Seq       int64     `json:"seq"`
	Began     time.Time `json:"began"`
	TookMs    float64   `json:"tookMs"`
	Broker    int32     `json:"broker"`
	Listener  string    `json:"listener"`
	Remote    string    `json:"remote"`
	Principal string    `json:"principal"`
	API       string    `json:"api"`
	Version   int16     `json:"version"`
	ClientID  string    `json:"clientId"`
	Rules     []string  `json:"rules,omitempty"` // that acted upon it
	Done      bool      `json:"done"`
	Closed    string    `json:"closed,omitempty"` // why the connection was closed instead of an answer
	Request   any       `json:"request,omitempty"`
	Response  any       `json:"response,omitempty"` // without records
	Bytes     int       `json:"recordBytes,omitempty"`
}

func (h *Handler) callRoutes() {
	h.on("GET /v1/calls", func(r *http.Request) (answer, error) {
		q := r.URL.Query()
		after, err := query(r, "after", 0)
		if err != nil {
			return nil, err
		}
		apis := strings.FieldsFunc(q.Get("api"), func(c rune) bool { return c == ',' })
		if _, err := path.Match(q.Get("clientId"), ""); err != nil {
			return nil, bad("clientId: %w", err)
		}
		bodies := q.Get("bodies") != "false"
		out := []callView{}
		for _, c := range h.cluster.Calls() {
			matched, _ := path.Match(q.Get("clientId"), c.ClientID) // looked at above
			if c.Seq <= after || q.Get("clientId") != "" && !matched || len(apis) > 0 && !named(apis, c.API()) {
				continue
			}
			out = append(out, viewCall(&c, bodies))
		}
		return out, nil
	})
}

func named(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(strings.TrimSpace(n), name) {
			return true
		}
	}
	return false
}

func viewCall(c *kafkatest.Call, bodies bool) callView {
	v := callView{
		Seq: c.Seq, Began: c.Began, TookMs: float64(c.Took) / float64(time.Millisecond), Broker: c.Broker, Listener: c.Listener, Remote: c.Conn.Remote,
		Principal: c.Conn.Principal, API: c.API(), Version: c.Version, ClientID: c.ClientID, Rules: c.Rules, Done: c.Done, Bytes: c.Records,
	}
	if c.Err != nil {
		v.Closed = c.Err.Error()
	}
	if !bodies {
		return v
	}
	if req, err := c.Request(); err == nil {
		v.Request = req
	}
	if resp, err := c.Response(); err == nil && resp != nil {
		v.Response = resp
	}
	return v
}
