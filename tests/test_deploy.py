"""What `deploy/` holds: valid manifests, lines that the real commands take, and a night as cron would run it."""

import asyncio
import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

import analysis
from analysis.circles import read_experiments
from analysis.synthetic.circles import draw_acquisitions
from dashboards.support.command import app, main

DEPLOY = Path(__file__).parents[1] / "deploy"
KUBERNETES = "1.33"
"""The oldest version in which the parts of a Job may fail one by one."""
IMAGE = f"graticule:{analysis.__version__}"
MOUNTED = {"/data/acquisitions": True, "/data/results": False}
"""Where the volumes are, and whether they are only read."""
TOLD = {"JOB_COMPLETION_INDEX": "3", "DASK_SCHEDULER_ADDRESS": "tcp://x:8786", "DASK_WORKER_NAME": "w"}
"""What containers are told by those who start them."""

# ------------------------------------------------------------------------------------------------ Kubernetes


def manifests():
    return [
        pytest.param(manifest, id=f"{path.name}:{manifest['kind']}/{manifest['metadata']['name']}")
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def named(kind, name):
    return next(
        each.values[0] for each in manifests() if each.values[0]["kind"] == kind and each.id.endswith(f"/{name}")
    )


def pod_specs(node):
    """Yield every pod specification in a manifest, however deep."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pod_specs(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_specs(value)


def containers_of(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


def pods():
    return [
        pytest.param(pod, id=f"{each.id}-{number}")
        for each in manifests()
        for number, pod in enumerate(pod_specs(each.values[0]))
    ]


def check(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("manifest", manifests())
def test_manifests_are_valid(manifest):
    if manifest["kind"] != "DaskJob":
        check(manifest)
        return
    # no schema knows the operator's own kind: what it makes of it are pods and a service
    assert manifest["apiVersion"] == "kubernetes.dask.org/v1"
    assert set(manifest["spec"]) == {"job", "cluster"}
    cluster = manifest["spec"]["cluster"]["spec"]
    assert set(cluster) == {"worker", "scheduler"} and set(cluster["scheduler"]) == {"spec", "service"}
    assert set(cluster["worker"]) == {"replicas", "spec"} and cluster["worker"]["replicas"] > 0
    check({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": cluster["scheduler"]["service"]})
    found = list(pod_specs(manifest))
    assert len(found) == 3
    for pod in found:
        check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod})


def test_the_validation_sees_mistakes():
    wrong = copy.deepcopy(named("Job", "circles-shards"))
    wrong["spec"]["completion"] = wrong["spec"].pop("completions")
    with pytest.raises(kubernetes_validate.ValidationError, match="completion"):
        check(wrong)


@pytest.mark.parametrize("pod", pods())
def test_pods_may_do_nothing_but_their_work(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] >= 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in containers_of(pod):
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True and rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]} and not rights.get("privileged")
        assert container["image"] == IMAGE
        assert set(container["resources"]["limits"]) == set(container["resources"]["requests"]) == {"cpu", "memory"}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert "/tmp" in mounts, "numba, Matplotlib and Dask write there"
        for place, only_read in MOUNTED.items():
            if place in mounts:
                assert mounts[place].get("readOnly", False) is only_read
                claim = volumes[mounts[place]["name"]]["persistentVolumeClaim"]
                assert claim.get("readOnly", False) is only_read
                assert named("PersistentVolumeClaim", claim["claimName"])


@pytest.mark.parametrize("pod", pods())
def test_commands_of_pods_are_real(pod):
    for container in containers_of(pod):
        words = [*container.get("command", ["graticule"]), *container["args"]]
        words = [re.sub(r"\$\((\w+)\)", lambda found: TOLD[found[1]], str(word)) for word in words]
        assert all(isinstance(word, str) for word in container["args"]), "numbers must be quoted"
        understood(words)
        if words[:3] == ["graticule", "circles", "run"] or "worker" in words:
            assert {mount["mountPath"] for mount in container["volumeMounts"]} >= set(MOUNTED)
        for word in words:
            if word.startswith("/"):
                assert any(word.startswith(mount["mountPath"]) for mount in container["volumeMounts"]), word


def understood(words):
    """Have a command line parsed by the program it is for; return its options."""
    program, *tokens = words
    if program == "graticule":
        return app.parse_args(tokens)[1].arguments
    if program == "python":
        assert tokens[0] == "-c" and compile(tokens[1], "", "exec")
        return {}
    assert program == "dask"
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    from distributed.cli import dask_scheduler, dask_worker

    part, *tokens = tokens
    return {"scheduler": dask_scheduler, "worker": dask_worker}[part].main.make_context(part, tokens).params


def test_a_line_that_no_command_takes_is_seen():
    with pytest.raises(Exception, match="--shards"):
        understood(["graticule", "circles", "run", "/a", "/b", "--shards", "0/2"])


def test_shards_are_as_many_as_the_job_has_parts():
    job = named("Job", "circles-shards")["spec"]
    (pod,) = pod_specs(job)
    args = pod["containers"][0]["args"]
    assert job["completionMode"] == "Indexed"
    assert args[args.index("--shard") + 1] == f"$(JOB_COMPLETION_INDEX)/{job['completions']}"


@pytest.mark.parametrize("manifest", [each for each in manifests() if "Job" in each.values[0]["kind"]])
def test_jobs_end(manifest):
    spec = manifest["spec"].get("jobTemplate", manifest)["spec"]
    for pod in pod_specs(spec.get("job", spec)):
        assert pod["restartPolicy"] == "Never"
    if manifest["kind"] == "DaskJob":
        return
    assert spec.get("backoffLimit", spec.get("backoffLimitPerIndex")) is not None
    codes = [rule["onExitCodes"]["values"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    # with a scheduler 1 may also mean that it was lost
    assert codes == [[1, 2]]


def test_scheduler_is_found_under_its_name():
    service = named("Service", "graticule-scheduler")
    labels = named("Deployment", "graticule-scheduler")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for kind, name in (("Deployment", "graticule-workers"), ("Job", "circles-dask")):
        (pod,) = pod_specs(named(kind, name))
        assert address in pod["containers"][0]["args"]
        assert all(f'"{address}"' in wait["args"][0] for wait in pod.get("initContainers", []))
    policy = named("NetworkPolicy", "graticule-dask")["spec"]["podSelector"]["matchLabels"]
    for kind, name in (("Deployment", "graticule-workers"), ("Job", "circles-dask")):
        assert policy.items() <= named(kind, name)["spec"]["template"]["metadata"]["labels"].items()


def test_workers_fit_into_their_pods():
    for pod in (pod for each in manifests() for pod in pod_specs(each.values[0])):
        for container in pod["containers"]:
            if "worker" not in container["args"]:
                continue
            options = understood(["dask", *container["args"]])
            count = int(options["n_workers"] or 1)
            limit = int(re.fullmatch(r"(\d+)Gi", container["resources"]["limits"]["memory"])[1])
            asked = int(re.fullmatch(r"(\d+)GiB", options["memory_limit"])[1])
            assert count * asked < limit and count == int(container["resources"]["limits"]["cpu"])


def test_daskjob_selects_its_own_scheduler():
    job = named("DaskJob", "circles-daskjob")
    selector = job["spec"]["cluster"]["spec"]["scheduler"]["service"]["selector"]
    # the operator names the cluster after the job, and the service after the cluster
    (wait,) = job["spec"]["job"]["spec"]["initContainers"]
    assert f'"tcp://{job["metadata"]["name"]}-scheduler:8786"' in wait["args"][0]
    assert selector == {"dask.org/cluster-name": job["metadata"]["name"], "dask.org/component": "scheduler"}


def words_of(pod, told, places):
    """Return the words of a pod's only container, with what it is told and the folders that are mounted."""
    (container,) = pod["containers"]
    words = [*container.get("command", ["graticule"]), *container["args"]]
    words = [re.sub(r"\$\((\w+)\)", lambda found: told[found[1]], word) for word in words]
    return [places.get(word, word) for word in words]


@pytest.fixture
def places(tmp_path):
    draw_acquisitions(tmp_path, dates=["20180401", "20180402"], experiments=["e1"], fields=3, shape=(200, 240))
    return {"/data/acquisitions": str(tmp_path / "acquisitions"), "/data/results": str(tmp_path / "results")}


def test_parts_and_aggregation_of_the_manifests_are_the_night_of_the_manifest(places, tmp_path, capsys):
    job = named("Job", "circles-shards")
    (pod,) = pod_specs(job)
    for index in range(job["spec"]["completions"]):
        assert main(words_of(pod, {"JOB_COMPLETION_INDEX": str(index)}, places)[1:]) == 0
    assert not os.path.exists(tmp_path / "results" / "experiments.csv")
    (pod,) = pod_specs(named("Job", "circles-aggregate"))
    assert main(words_of(pod, {}, places)[1:]) == 0
    (pod,) = pod_specs(named("CronJob", "circles-nightly"))
    assert main(words_of(pod, {}, places | {"/data/results": str(tmp_path / "night")})[1:]) == 0
    for name in ("experiments.csv", "failures.csv"):
        assert (tmp_path / "results" / name).read_bytes() == (tmp_path / "night" / name).read_bytes()
    assert len(read_experiments(tmp_path / "night")) > 0


@pytest.mark.parametrize("kind", ["plain", "operator"])
def test_scheduler_workers_and_run_of_the_manifests_work_together(kind, places, tmp_path, capsys):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    if kind == "plain":
        wanted = [("Deployment", "graticule-scheduler"), ("Deployment", "graticule-workers"), ("Job", "circles-dask")]
        scheduler, worker, client = (next(pod_specs(named(*each))) for each in wanted)
    else:
        job = named("DaskJob", "circles-daskjob")["spec"]
        scheduler, worker, client = (
            next(pod_specs(part))
            for part in (job["cluster"]["spec"]["scheduler"], job["cluster"]["spec"]["worker"], job["job"])
        )
    told = {"DASK_WORKER_NAME": "w"}
    places |= {"8786": "0", ":8787": "127.0.0.1:0", "/tmp": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    file = tmp_path / "scheduler.json"

    def start(words):
        assert words[0] == "dask"
        line = [sys.executable, "-m", f"distributed.cli.dask_{words[1]}", *words[2:], "--host", "127.0.0.1"]
        if words[1] == "scheduler":
            line += ["--scheduler-file", str(file)]
        paths = os.pathsep.join([str(DEPLOY.parent), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": paths, **told}
        return subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)  # fmt: skip

    running = [start(words_of(scheduler, told, places))]
    try:
        for _ in range(300):
            if file.exists() and file.read_text().endswith("}"):
                break
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        told["DASK_SCHEDULER_ADDRESS"] = address
        places["tcp://graticule-scheduler:8786"] = address
        running.append(start(words_of(worker, told, places)))
        (wait,) = client["initContainers"]
        code = re.sub(r"tcp://[\w-]+-scheduler:8786", address, wait["args"][0])
        assert address in code
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)
        assert main([*words_of(client, told, places)[1:], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["new"] == 12
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(30)


# ------------------------------------------------------------------------------------------------- the image


def dockerfile():
    """Instructions as (name, words), with lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line.strip()
    ]


def stages():
    found = {}
    for name, words in dockerfile():
        if name == "FROM":
            found[words.split()[-1]] = current = []
        if found:
            current.append((name, words))
    return found


def test_image_is_pinned_and_small():
    (base,) = [words for name, words in dockerfile() if name == "ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-\w+", base)
    assert {words.split()[0] for name, words in dockerfile() if name == "FROM"} <= {"${PYTHON}", "base"}
    everything = " ".join(words for _, words in dockerfile())
    assert not re.search(r"apt-get|gcc|build-essential|latest", everything)
    for words in (words for name, words in dockerfile() if name == "RUN" and "pip install" in words.replace(
        "--python /opt/graticule/bin/python ", "")):  # fmt: skip
        assert "-c " in words and "--no-cache-dir" in words
    assert "--only-binary :all:" in everything
    # the last stage takes the packages over and builds nothing
    assert [name for name, _ in stages()["base"]].count("COPY") == 1


def test_image_runs_as_nobody_special():
    for name, told in stages().items():
        users = [words for instruction, words in told if instruction == "USER"]
        ports = [words for instruction, words in told if instruction == "EXPOSE"]
        assert users == (["10001:10001"] if name == "base" else [])
        assert all(int(port) >= 1024 for port in ports)
    assert list(stages())[-1] == "run"
    assert all(told[0][1].split()[0] == "base" for name, told in stages().items() if name in ("run", "pages"))
    environment = " ".join(words for name, words in stages()["base"] if name == "ENV")
    for name in ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert re.search(rf"\b{name}=/tmp\b", environment)


def test_only_what_is_built_is_copied_and_it_is_let_in():
    let_in = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = {
        path for name, words in dockerfile() if name == "COPY" and "--from" not in words for path in words.split()[:-1]
    }
    assert copied == set(let_in)
    assert all((DEPLOY.parent / path).exists() for path in copied)
    # what the wheel is made of
    assert {"analysis", "dashboards", "pyproject.toml", "README.md", "LICENSE"} <= copied


def test_entry_point_and_commands_are_real():
    (entry,) = [words for name, words in stages()["base"] if name == "ENTRYPOINT"]
    assert entry == '["graticule"]'
    for name in ("pages", "run"):
        (told,) = [yaml.safe_load(words) for instruction, words in stages()[name] if instruction == "CMD"]
        if told != ["--help"]:
            understood(["graticule", *told])


def constraints():
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): each.specifier for each in found}


def test_every_dependency_is_pinned_to_a_version_that_will_do():
    pinned = constraints()
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    taken = re.search(r"\.whl\)\[([\w,]+)\]", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))[1].split(",")
    lines = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for requirement in map(Requirement, [*lines, *(line for name in taken for line in extras[name])]):
        (pin,) = pinned[canonicalize_name(requirement.name)]
        assert pin.operator == "==" and requirement.specifier.contains(Version(pin.version)), requirement


# ------------------------------------------------------------------------------------------------ the lab server


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def test_only_the_proxy_is_reached(compose):
    pages, proxy = compose["services"]["pages"], compose["services"]["proxy"]
    assert "ports" not in pages and pages["networks"] == ["inside"] and compose["networks"]["inside"]["internal"]
    assert set(proxy["networks"]) == {"inside", "outside"}
    assert sorted(proxy["ports"]) == ["443:443", "80:80"]
    assert proxy["depends_on"]["pages"]["condition"] == "service_healthy"
    assert re.fullmatch(r"caddy:\d+\.\d+\.\d+-alpine", proxy["image"])
    for service in (pages, proxy):
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"] == ["/tmp"]
        assert service["security_opt"] == ["no-new-privileges:true"] and not service.get("privileged")
    assert proxy["cap_add"] == ["NET_BIND_SERVICE"] and "cap_add" not in pages
    assert [mount.rpartition("}:")[2] for mount in pages["volumes"]] == ["/data/acquisitions:ro", "/data/results"]
    assert pages["build"]["target"] in stages() and (DEPLOY / "compose.yaml").parent / pages["build"]["context"]
    assert pages["image"] == f"graticule-pages:{analysis.__version__}"


def test_proxy_asks_for_a_login_and_speaks_https(compose):
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert lines[:5] == ["{", "admin off", "skip_install_trust", "}", "{$GRATICULE_HOST} {"] and "http://" not in text
    assert lines[lines.index("basic_auth {") + 1] == "{$GRATICULE_USER} {$GRATICULE_PASSWORD_HASH}"
    (upstream,) = [line.split()[1] for line in lines if line.startswith("reverse_proxy")]
    command = list(map(str, compose["services"]["pages"]["command"]))
    assert upstream == f"pages:{command[command.index('--port') + 1]}"
    assert set(re.findall(r"{\$(\w+)}", text)) == set(compose["services"]["proxy"]["environment"])


def test_pages_answer_under_the_name_of_the_proxy_and_no_other(compose, tmp_path):
    words = [re.sub(r"\$\{GRATICULE_HOST.*\}", "graticule.example.org", word)
             for word in map(str, compose["services"]["pages"]["command"])]  # fmt: skip
    options = understood(["graticule", *words])
    assert options["address"] == "0.0.0.0" and options["allow_origin"] == ["graticule.example.org"]
    assert options["login_by_proxy"] and options["behind_https"]
    words[words.index("0.0.0.0")] = "127.0.0.1"
    words[words.index("5006")] = "0"
    for place in MOUNTED:
        words = [str(tmp_path / Path(place).name) if word == place else word for word in words]
        (tmp_path / Path(place).name).mkdir()
    line = [sys.executable, "-c", "from dashboards.support.command import main; main()", *words]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0]
            asyncio.run(look(address))
            checked = next(words for name, words in stages()["pages"] if name == "HEALTHCHECK")
            program = yaml.safe_load(checked[checked.index("[") :])
            assert program[0] == "python"
            program = [sys.executable, *program[1:-1], program[-1].replace("http://127.0.0.1:5006", address)]
            assert subprocess.run(program, check=False).returncode == 0
        finally:
            server.terminate()
    assert subprocess.run(program, check=False, stderr=subprocess.DEVNULL).returncode == 1


async def look(address):
    """Open a page as the proxy passes it on, then its socket from the right place and from a wrong one."""
    asked = HTTPRequest(f"{address}/circles", headers={"Host": "graticule.example.org"}, request_timeout=60)
    page = (await AsyncHTTPClient().fetch(asked)).body.decode()
    token = re.search(r'"token":"([^"]+)"', page)[1]
    for origin, welcome in (("https://graticule.example.org", True), ("https://elsewhere.example.org", False)):
        asked = HTTPRequest(
            f"{address.replace('http', 'ws')}/circles/ws",
            headers={"Host": "graticule.example.org", "Origin": origin},
        )
        if welcome:
            socket = await websocket_connect(asked, subprotocols=["bokeh", token])
            assert '"ACK"' in await socket.read_message()
            socket.close()
        else:
            with pytest.raises(HTTPClientError, match="403"):
                await websocket_connect(asked, subprotocols=["bokeh", token])


# ----------------------------------------------------------------------------------------------------- cron


def crontab():
    """Variables, and the lines in use and in reserve as (schedule, command)."""
    settings, lines = {}, []
    for line in (DEPLOY / "crontab").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"([A-Z]+)=(.*)", line):
            settings[found[1]] = found[2]
        elif found := re.fullmatch(r"#?((?:[\d*/,-]+ ){4}[\d*/,-]+) +(.*)", line):
            lines.append((found[1], found[2]))
        else:
            assert not line or line.startswith("# ") or line == "#", line
    return settings, lines


def test_crontab_says_when_and_to_whom():
    settings, lines = crontab()
    assert set(settings) == {"MAILTO", "SHELL", "PATH", "ACQUISITIONS", "RESULTS", "LOCK"}
    assert [when for when, _ in lines] == ["0 2 * * *"] * 2
    # cron takes a percent sign for the end of the line
    assert not any("%" in command for _, command in lines)
    assert [line[0] for line in (DEPLOY / "crontab").read_text().splitlines() if " 2 * * *" in line] == ["0", "#"]


def test_container_of_the_crontab_runs_a_real_line():
    words = shlex.split(crontab()[1][1][1].replace("$(id -u):$(id -g)", "1000:1000"))
    words = words[words.index(IMAGE) + 1 : words.index("||")]
    assert understood(["graticule", *words])
    assert {word for word in words if word.startswith("/")} == set(MOUNTED)


@pytest.fixture
def cron(tmp_path):
    """Run the line as cron does: by the shell, with the crontab's variables and next to nothing else."""
    if not shutil.which("flock"):
        pytest.skip("flock is not here")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = f"import sys; sys.path.insert(0, {str(DEPLOY.parent)!r}); from dashboards.support.command import main"
    (programs / "graticule").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}; sys.exit(main())" "$@"\n')
    (programs / "graticule").chmod(0o755)
    settings, lines = crontab()
    places = {"ACQUISITIONS": tmp_path / "a b" / "acquisitions", "RESULTS": tmp_path / "a b", "LOCK": tmp_path / "lock"}
    settings |= {name: str(path) for name, path in places.items()}
    settings["PATH"] = settings["PATH"].replace("/opt/graticule/bin", str(programs))
    draw_acquisitions(tmp_path / "a b", dates=["20180401"], experiments=["e1"], fields=1, shape=(200, 240))
    environment = {"HOME": str(tmp_path), "LOGNAME": "x", **settings}

    def night():
        return subprocess.run([settings["SHELL"], "-c", lines[0][1]], env=environment, cwd=tmp_path,
                              capture_output=True, text=True, check=False)  # fmt: skip

    night.folder, night.lock = tmp_path / "a b", tmp_path / "lock"
    return night


def test_line_of_the_crontab_does_the_night(cron):
    first = cron()
    assert first.stdout.startswith("circles: 2 new, 0 changed, 0 unchanged, 0 failed") and first.stderr == ""
    assert len(read_experiments(cron.folder)) > 0
    (cron.folder / "acquisitions/20180401/s1/e1/bad.png").write_text("nothing")
    second = cron()
    assert second.stdout.startswith("circles: 0 new, 0 changed, 2 unchanged, 1 failed")
    assert "bad.png" in second.stderr and second.stderr.endswith("graticule ended with exit code 1\n")


def test_a_night_that_is_still_busy_is_left_alone(cron):
    with subprocess.Popen(["flock", cron.lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        busy.stdin.write(b"held\n")
        busy.stdin.flush()
        assert busy.stdout.readline() == b"held\n"
        found = cron()
        busy.stdin.close()
    assert found.stdout == "" and found.stderr == "graticule ended with exit code 75\n"
    assert not os.path.exists(cron.folder / "experiments.csv")


# ---------------------------------------------------------------------------------------------------- README


def test_readme_names_every_file_and_its_lines_are_real():
    text = (DEPLOY.parent / "README.md").read_text(encoding="utf-8")
    _, found, section = text.partition("## Past one machine, and every night by itself")
    section = section.partition("\n## ")[0]
    assert found
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        assert path.name in section
    for path in re.findall(r"deploy/[\w./-]*\w", section):
        assert (DEPLOY.parent / path).exists(), path
    lines = [line.strip() for block in re.findall(r"```\n(.*?)```", section, re.S) for line in block.splitlines()]
    told = [shlex.split(line) for line in lines if line.startswith(("graticule", "dask"))]
    assert len(told) == 3 and all(understood(words) for words in told)
    jobs = {name for line in lines for name in re.findall(r"job/([\w-]+)", line)}
    assert jobs and all(named("Job", name) for name in jobs)
