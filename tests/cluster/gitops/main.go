// Says what GitOps tools take objects for: by the library of kstatus, which Flux
// asks, by an expression for Flux, and by a script for Argo CD. It reads one
// question from stdin and writes one answer for each of its objects.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/cel-go/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type expressions struct {
	Current    string `json:"current"`
	Failed     string `json:"failed"`
	InProgress string `json:"inProgress"`
}

type question struct {
	Objects []unstructured.Unstructured `json:"objects"`
	Flux    map[string]expressions      `json:"flux"` // by kind
	ArgoCD  map[string]string           `json:"argocd"`
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answer struct {
	Kstatus verdict  `json:"kstatus"`
	Flux    *verdict `json:"flux"` // null: nobody asks an expression about such an object
	ArgoCD  *verdict `json:"argocd"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fail(err)
	}
	answers := []answer{}
	for number := range asked.Objects {
		given, err := answered(&asked.Objects[number], asked)
		if err != nil {
			fail(fmt.Errorf("object %d: %w", number, err))
		}
		answers = append(answers, given)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fail(err)
	}
}

func answered(object *unstructured.Unstructured, asked question) (answer, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return answer{}, err
	}
	given := answer{Kstatus: verdict{string(computed.Status), computed.Message}}
	if said, ok := asked.Flux[object.GetKind()]; ok && object.GetDeletionTimestamp() == nil {
		if given.Flux, err = byFlux(object, said); err != nil {
			return answer{}, err
		}
	}
	// Of what is being deleted, Argo CD says so without asking.
	if script, ok := asked.ArgoCD[object.GetKind()]; ok && object.GetDeletionTimestamp() == nil {
		if given.ArgoCD, err = byArgoCD(object, script); err != nil {
			return answer{}, err
		}
	}
	return given, nil
}

// The order is Flux's: what it has not seen yet, in progress, failed, current.
func byFlux(object *unstructured.Unstructured, said expressions) (*verdict, error) {
	observed, found, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	if err != nil || found && observed != object.GetGeneration() {
		return &verdict{Status: string(status.InProgressStatus)}, err
	}
	for _, each := range []struct {
		expression string
		status     status.Status
	}{
		{said.InProgress, status.InProgressStatus},
		{said.Failed, status.FailedStatus},
		{said.Current, status.CurrentStatus},
	} {
		if each.expression == "" {
			continue
		}
		holds, err := evaluated(object, each.expression)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", each.expression, err)
		}
		if holds {
			return &verdict{Status: string(each.status)}, nil
		}
	}
	return &verdict{Status: string(status.InProgressStatus)}, nil
}

// Flux parses an expression without checking it: not every kind has a spec and a status.
func evaluated(object *unstructured.Unstructured, expression string) (bool, error) {
	environment, err := cel.NewEnv(cel.CrossTypeNumericComparisons(true), cel.OptionalTypes())
	if err != nil {
		return false, err
	}
	parsed, issues := environment.Parse(expression)
	if issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := environment.Program(parsed)
	if err != nil {
		return false, err
	}
	value, _, err := program.Eval(object.Object)
	if err != nil {
		return false, err
	}
	holds, ok := value.Value().(bool)
	if !ok {
		return false, errors.New("is no boolean")
	}
	return holds, nil
}

// With Argo CD's interpreter, and of the libraries that it gives to scripts those that do no I/O.
func byArgoCD(object *unstructured.Unstructured, script string) (*verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	limited, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limited)
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		library := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(library, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	state.SetGlobal("obj", asLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, errors.New("the script returned no table")
	}
	health, message := state.GetField(table, "status"), state.GetField(table, "message")
	return &verdict{lua.LVAsString(health), lua.LVAsString(message)}, nil
}

func asLua(state *lua.LState, value any) lua.LValue {
	switch given := value.(type) {
	case bool:
		return lua.LBool(given)
	case int64:
		return lua.LNumber(given)
	case float64:
		return lua.LNumber(given)
	case string:
		return lua.LString(given)
	case []any:
		table := state.NewTable()
		for _, item := range given {
			table.Append(asLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range given {
			table.RawSetString(key, asLua(state, item))
		}
		return table
	}
	return lua.LNil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
