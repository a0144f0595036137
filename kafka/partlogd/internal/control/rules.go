package control

import (
	"fmt"
	"net/http"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// ruleView is a rule in force.
type ruleView struct {
	ID   int64          `json:"id"`
	Rule kafkatest.Rule `json:"rule"`
	Seen int            `json:"seen"` // requests that matched
	Hits int            `json:"hits"` // that it has acted upon
}

func ruleOf(a *kafkatest.Armed) ruleView { return ruleView{a.ID(), a.Rule(), a.Seen(), a.Hits()} }

func (h *Handler) ruleRoutes() {
	c := h.cluster
	h.on("POST /v1/rules", func(r *http.Request) (answer, error) {
		var rule kafkatest.Rule
		if err := read(r, &rule); err != nil {
			return nil, err
		}
		a, err := c.Rules().Add(rule)
		if err != nil {
			return nil, bad("%w", err)
		}
		return ruleOf(a), nil
	})
	h.on("GET /v1/rules", func(*http.Request) (answer, error) {
		out := []ruleView{}
		for _, a := range c.Rules().All() {
			out = append(out, ruleOf(a))
		}
		return out, nil
	})
	h.on("DELETE /v1/rules", func(*http.Request) (answer, error) {
		c.Rules().Clear()
		return nil, nil
	})
	h.on("GET /v1/rules/{id}", func(r *http.Request) (answer, error) {
		a, err := h.rule(r)
		if err != nil {
			return nil, err
		}
		return ruleOf(a), nil
	})
	h.on("DELETE /v1/rules/{id}", func(r *http.Request) (answer, error) {
		a, err := h.rule(r)
		if err != nil {
			return nil, err
		}
		a.Remove()
		return ruleOf(a), nil
	})
	h.on("GET /v1/rules/{id}/wait", func(r *http.Request) (answer, error) {
		a, err := h.rule(r)
		if err != nil {
			return nil, err
		}
		n, err := query(r, "hits", 1)
		if err != nil {
			return nil, err
		}
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		if err := a.Wait(ctx, int(n)); err != nil {
			return nil, late(err)
		}
		return ruleOf(a), nil
	})
}

// rule finds the one in the path.
func (h *Handler) rule(r *http.Request) (*kafkatest.Armed, error) {
	id, err := number(r, "id")
	if err != nil {
		return nil, err
	}
	for _, a := range h.cluster.Rules().All() {
		if a.ID() == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("rule %d: %w", id, errNotThere)
}
