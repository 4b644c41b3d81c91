BEGIN TRANSACTION;
CREATE TABLE audit (
	audit_pk INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	namespace VARCHAR(64), 
	actor VARCHAR(200) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	subject VARCHAR(128) NOT NULL, 
	details JSON NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (audit_pk)
);
INSERT INTO "audit" VALUES(1,'2026-01-01 00:00:00.000000','default','local','register_job','nightly','{}');
INSERT INTO "audit" VALUES(2,'2026-01-01 00:00:00.000000','default','local','register_job','untouched','{}');
CREATE TABLE "jobs" (
	job_pk INTEGER NOT NULL, 
	job_id VARCHAR(128) NOT NULL, 
	settings JSON NOT NULL, 
	registered_settings JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	next_trial_number BIGINT NOT NULL, 
	next_sequence BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	version BIGINT DEFAULT '0' NOT NULL, 
	namespace VARCHAR(64) DEFAULT 'default' NOT NULL, control JSON, judging JSON, 
	CONSTRAINT pk_jobs PRIMARY KEY (job_pk), 
	CONSTRAINT uq_jobs_namespace_job_id UNIQUE (namespace, job_id)
);
INSERT INTO "jobs" VALUES(1,'nightly','{"zeus": null, "batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "diverged_after_reports": 3, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "first_run": "predicted", "exploration_budget_runs": 1.0, "survey_seconds": 120.0, "seed": 1, "learning_rate": null}','{"zeus": null, "batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "diverged_after_reports": 3, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "first_run": "predicted", "exploration_budget_runs": 1.0, "survey_seconds": 120.0, "seed": 1, "learning_rate": null}',1,11,17,'2026-01-01 00:00:00.000000','2026-01-01 00:00:00.000000',2420139842237551022,'default',NULL,NULL);
INSERT INTO "jobs" VALUES(2,'untouched','{"zeus": null, "batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "diverged_after_reports": 3, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "first_run": "predicted", "exploration_budget_runs": 1.0, "survey_seconds": 120.0, "seed": 1, "learning_rate": null}','{"zeus": null, "batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "diverged_after_reports": 3, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "first_run": "predicted", "exploration_budget_runs": 1.0, "survey_seconds": 120.0, "seed": 1, "learning_rate": null}',1,1,1,'2026-01-01 00:00:00.000000','2026-01-01 00:00:00.000000',1397878632366728753,'default',NULL,NULL);
CREATE TABLE observations (
	observation_pk INTEGER NOT NULL, 
	trial_id VARCHAR(32) NOT NULL, 
	epoch DOUBLE NOT NULL, 
	closing BOOLEAN NOT NULL, 
	metric DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	outcome VARCHAR(16), 
	received_at DATETIME NOT NULL, 
	answered_state VARCHAR(16) NOT NULL, 
	answered_reason TEXT NOT NULL, 
	answered_power_limit_watts INTEGER, energy_known_from_seconds DOUBLE, 
	CONSTRAINT pk_observations PRIMARY KEY (observation_pk), 
	CONSTRAINT fk_observations_trial_id_trials FOREIGN KEY(trial_id) REFERENCES trials (trial_id) ON DELETE CASCADE, 
	CONSTRAINT uq_observations_trial_id_epoch_closing UNIQUE (trial_id, epoch, closing)
);
INSERT INTO "observations" VALUES(1,'f6a3f515a07c4827a3de76dd12534c54',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:01:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(2,'f6a3f515a07c4827a3de76dd12534c54',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:02:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(3,'f6a3f515a07c4827a3de76dd12534c54',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:03:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(4,'4a765a2308ad4b9eb72fe98a9a3fbe35',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:04:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(5,'4a765a2308ad4b9eb72fe98a9a3fbe35',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:05:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(6,'4a765a2308ad4b9eb72fe98a9a3fbe35',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:06:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(7,'80d4a2e948a04359ba39708b93e9e867',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:07:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(8,'80d4a2e948a04359ba39708b93e9e867',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:08:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(9,'80d4a2e948a04359ba39708b93e9e867',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:09:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(10,'a06528001fca4f8d934e90e62d8ffb3f',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:10:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(11,'a06528001fca4f8d934e90e62d8ffb3f',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:11:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(12,'a06528001fca4f8d934e90e62d8ffb3f',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:12:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(13,'a04401f8d40943069648069c0b78a96a',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:13:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(14,'a04401f8d40943069648069c0b78a96a',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:14:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(15,'a04401f8d40943069648069c0b78a96a',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:15:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(16,'2626c6e33d6f4a588cd00b7d94caa4a4',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:16:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(17,'2626c6e33d6f4a588cd00b7d94caa4a4',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:17:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(18,'2626c6e33d6f4a588cd00b7d94caa4a4',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:18:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(19,'33118ac3855a409cb469b2b0378b97fc',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:19:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(20,'33118ac3855a409cb469b2b0378b97fc',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:20:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(21,'33118ac3855a409cb469b2b0378b97fc',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:21:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(22,'c19ed210248d43b7bcaa3a4408780643',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:22:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(23,'c19ed210248d43b7bcaa3a4408780643',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:23:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(24,'c19ed210248d43b7bcaa3a4408780643',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:24:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
CREATE TABLE "placements" (
	placement_pk INTEGER NOT NULL, 
	job_pk INTEGER NOT NULL, 
	gpu_model VARCHAR(128) NOT NULL, 
	gpu_count INTEGER NOT NULL, 
	min_power_limit_watts INTEGER, 
	max_power_limit_watts INTEGER, 
	smallest_oom_batch_size INTEGER, 
	power_scope VARCHAR(16) DEFAULT '' NOT NULL, 
	power_profile VARCHAR(128) DEFAULT '' NOT NULL, 
	nominal_power_watts INTEGER, surveyed_oom_batch_size INTEGER, is_simulated BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_placements PRIMARY KEY (placement_pk), 
	CONSTRAINT fk_placements_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_placements_gpu UNIQUE (job_pk, gpu_model, gpu_count, power_scope, power_profile)
);
INSERT INTO "placements" VALUES(1,1,'V100',1,100,250,NULL,'','',NULL,NULL,0);
INSERT INTO "placements" VALUES(2,1,'A40',2,100,300,NULL,'','',NULL,NULL,0);
CREATE TABLE policy_states (
	placement_pk INTEGER NOT NULL, 
	part VARCHAR(32) NOT NULL, 
	state JSON NOT NULL, 
	CONSTRAINT pk_policy_states PRIMARY KEY (placement_pk, part), 
	CONSTRAINT fk_policy_states_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE
);
INSERT INTO "policy_states" VALUES(1,'batch_size','{"arms": {"128": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [[100.0, 1.0]], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost": [], "paid": 1, "runs": 1, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "16": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost": [], "paid": 0, "runs": 0, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "32": {"curve": [[-2.1972245773362196, 2], [-0.810930216216329, 2]], "epoch_costs": [[100.0, 1.0], [100.0, 1.0]], "epochs": {"count": 2.0, "doubted": null, "latest": [], "squares": 2.413897921625164, "total": 2.1972245773362196}, "failures": 0.0, "lost": [], "paid": 2, "runs": 2, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "64": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [[100.0, 1.0]], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost": [], "paid": 2, "runs": 2, "site": [0.0, 0.0], "stops": [], "whole": [300.0, 3.0], "whole_costs": {"count": 1.0, "doubted": null, "latest": [], "squares": 40.920709013783764, "total": 6.396929655216146}}, "8": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost": [], "paid": 0, "runs": 0, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}}, "drift": [0.0, 0.0], "fixed": [[], [], [], []], "fruitless": {}, "learned": 5, "levels": [0.6000000000000001, 0.8], "wasted": []}');
INSERT INTO "policy_states" VALUES(1,'totals','{"128 trial converged energy time": [1, 3000000000, 300000000000, 3000000000, 0, 300000000000, 3000000000, 0], "32 trial converged energy time": [2, 6000000000, 600000000000, 6000000000, 0, 600000000000, 6000000000, 0], "64 run converged energy time": [1, 0, 300000000000, 3000000000, 0, 300000000000, 3000000000, 0], "64 trial converged energy time": [1, 3000000000, 300000000000, 3000000000, 0, 300000000000, 3000000000, 0]}');
INSERT INTO "policy_states" VALUES(1,'power_limit','{"runs": {}, "surveys": {"32": {"begun": 0, "measured": {"150": [null, 1.0, 95.0, true], "200": [null, 1.0, 90.0, true], "250": [null, 1.0, 100.0, true]}}}}');
INSERT INTO "policy_states" VALUES(1,'survey','{"energy_joules": 285.0, "slices": 3, "time_seconds": 3.0, "unmetered_seconds": 0.0}');
INSERT INTO "policy_states" VALUES(1,'energy','{"128": [300.0, 3.0, 1, 0], "32": [600.0, 6.0, 2, 0], "64": [600.0, 6.0, 2, 0]}');
INSERT INTO "policy_states" VALUES(1,'beginnings','{"crashed": {"128": [[1767227040000000, 5]]}, "first": [1767225660000000, 1], "trained": {"128": [1767226020000000, 3], "32": [1767226200000000, 4], "64": [1767225660000000, 1]}}');
INSERT INTO "policy_states" VALUES(1,'cost_bound','{"lowest": [[300.0, 3.0]], "recent": [[300.0, 3.0], [300.0, 3.0], [300.0, 3.0], [300.0, 3.0]], "refuted": [null], "stops": 0}');
INSERT INTO "policy_states" VALUES(2,'batch_size','{"arms": {"128": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [[160.0, 1.0]], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost": [], "paid": 1, "runs": 1, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "16": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [[160.0, 1.0]], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost": [], "paid": 1, "runs": 1, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "32": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [[160.0, 1.0]], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost": [], "paid": 1, "runs": 1, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "64": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [[160.0, 1.0]], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost": [], "paid": 2, "runs": 2, "site": [0.0, 0.0], "stops": [], "whole": [480.0, 3.0], "whole_costs": {"count": 1.0, "doubted": null, "latest": [], "squares": 49.54447374252222, "total": 7.038783541388542}}, "8": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost": [], "paid": 0, "runs": 0, "site": [0.0, 0.0], "stops": [], "whole": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}}, "drift": [0.0, 0.0], "fixed": [[], [], [], []], "fruitless": {}, "learned": 5, "levels": [0.6000000000000001, 0.8], "wasted": []}');
INSERT INTO "policy_states" VALUES(2,'totals','{"128 trial converged energy time": [1, 3000000000, 480000000000, 3000000000, 0, 480000000000, 3000000000, 0], "16 trial converged energy time": [1, 3000000000, 480000000000, 3000000000, 0, 480000000000, 3000000000, 0], "32 trial converged energy time": [1, 3000000000, 480000000000, 3000000000, 0, 480000000000, 3000000000, 0], "64 run converged energy time": [1, 0, 480000000000, 3000000000, 0, 480000000000, 3000000000, 0], "64 trial converged energy time": [1, 3000000000, 480000000000, 3000000000, 0, 480000000000, 3000000000, 0]}');
INSERT INTO "policy_states" VALUES(2,'power_limit','{"runs": {}, "surveys": {"32": {"begun": 0, "measured": {"150": [null, 1.0, 152.0, true], "200": [null, 1.0, 144.0, true], "250": [null, 1.0, 160.0, true]}}}}');
INSERT INTO "policy_states" VALUES(2,'survey','{"energy_joules": 456.0, "slices": 3, "time_seconds": 3.0, "unmetered_seconds": 0.0}');
INSERT INTO "policy_states" VALUES(2,'energy','{"128": [480.0, 3.0, 1, 0], "16": [480.0, 3.0, 1, 0], "32": [480.0, 3.0, 1, 0], "64": [960.0, 6.0, 2, 0]}');
INSERT INTO "policy_states" VALUES(2,'beginnings','{"crashed": {}, "first": [1767226380000000, 6], "trained": {"128": [1767226740000000, 8], "16": [1767226560000000, 7], "32": [1767226920000000, 9], "64": [1767226380000000, 6]}}');
INSERT INTO "policy_states" VALUES(2,'cost_bound','{"lowest": [[480.0, 3.0]], "recent": [[480.0, 3.0], [480.0, 3.0], [480.0, 3.0], [480.0, 3.0]], "refuted": [null], "stops": 0}');
CREATE TABLE power_measurements (
	power_measurement_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	batch_size INTEGER NOT NULL, 
	power_limit_watts INTEGER NOT NULL, 
	time_seconds DOUBLE, 
	energy_joules DOUBLE, 
	steps DOUBLE, 
	steps_per_epoch DOUBLE, 
	cost DOUBLE, 
	sequence BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, idempotency_key VARCHAR(128), surveyed BOOLEAN DEFAULT 0 NOT NULL, outcome VARCHAR(16), 
	CONSTRAINT pk_power_measurements PRIMARY KEY (power_measurement_pk), 
	CONSTRAINT fk_power_measurements_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE
);
INSERT INTO "power_measurements" VALUES(1,1,32,250,1.0,100.0,10.0,10.0,NULL,1,'2026-01-01 00:00:00.000000',NULL,1,NULL);
INSERT INTO "power_measurements" VALUES(2,1,32,200,1.0,90.0,10.0,10.0,NULL,2,'2026-01-01 00:00:00.000000',NULL,1,NULL);
INSERT INTO "power_measurements" VALUES(3,1,32,150,1.0,95.0,10.0,10.0,NULL,3,'2026-01-01 00:00:00.000000',NULL,1,NULL);
INSERT INTO "power_measurements" VALUES(4,2,32,250,1.0,160.0,10.0,10.0,NULL,9,'2026-01-01 00:12:00.000000',NULL,1,NULL);
INSERT INTO "power_measurements" VALUES(5,2,32,200,1.0,144.0,10.0,10.0,NULL,10,'2026-01-01 00:12:00.000000',NULL,1,NULL);
INSERT INTO "power_measurements" VALUES(6,2,32,150,1.0,152.0,10.0,10.0,NULL,11,'2026-01-01 00:12:00.000000',NULL,1,NULL);
CREATE TABLE rheostat_schema_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT rheostat_schema_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "rheostat_schema_version" VALUES('0008');
CREATE TABLE runs (
	run_id VARCHAR(32) NOT NULL, 
	job_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	idempotency_key VARCHAR(128), 
	batch_size INTEGER NOT NULL, 
	cost DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	converged BOOLEAN, 
	sequence BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, epochs DOUBLE, curve JSON, power_limit_watts INTEGER, 
	CONSTRAINT pk_runs PRIMARY KEY (run_id), 
	CONSTRAINT fk_runs_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT fk_runs_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_runs_job_pk_idempotency_key UNIQUE (job_pk, idempotency_key)
);
INSERT INTO "runs" VALUES('2af70656ac214b648adef4ff73a36fa9',1,1,NULL,64,NULL,300.0,3.0,1,4,'2026-01-01 00:00:00.000000',NULL,NULL,NULL);
INSERT INTO "runs" VALUES('459e7b2235bf425995682be68904d32f',1,2,NULL,64,NULL,480.0,3.0,1,12,'2026-01-01 00:12:00.000000',NULL,NULL,NULL);
CREATE TABLE tokens (
	token_id VARCHAR(12) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	scopes VARCHAR(64) NOT NULL, 
	namespace VARCHAR(64), 
	secret_sha256 VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	last_used_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (token_id)
);
CREATE TABLE trials (
	trial_id VARCHAR(32) NOT NULL, 
	job_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	idempotency_key VARCHAR(128), 
	node VARCHAR(128), 
	batch_size INTEGER NOT NULL, 
	learning_rate DOUBLE, 
	power_limit_watts INTEGER, 
	profile_power_limits_watts JSON NOT NULL, 
	reason TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	state_reason TEXT NOT NULL, 
	epochs DOUBLE, 
	metric DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	sequence BIGINT, 
	created_at DATETIME NOT NULL, 
	lease_expires_at DATETIME NOT NULL, 
	ended_at DATETIME, curve JSON, gpu JSON, metered_joules DOUBLE, metered_from_seconds DOUBLE, metered_to_seconds DOUBLE, energy_estimate TEXT, resumes VARCHAR(32), started_at_epoch DOUBLE, epoch_shift DOUBLE, repeated_epochs DOUBLE, is_restarted BOOLEAN DEFAULT 0 NOT NULL, setup_seconds DOUBLE, setup_joules DOUBLE, first_report JSON, warning TEXT, first_epoch_at DATETIME, crashed_at DATETIME, is_ordered BOOLEAN DEFAULT 0 NOT NULL, beside_exploration BOOLEAN DEFAULT 0 NOT NULL, tags JSON, predicted_cost JSON, nodes JSON, 
	CONSTRAINT pk_trials PRIMARY KEY (trial_id), 
	CONSTRAINT fk_trials_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT fk_trials_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_trials_job_pk_number UNIQUE (job_pk, number), 
	CONSTRAINT uq_trials_job_pk_idempotency_key UNIQUE (job_pk, idempotency_key), 
	CONSTRAINT ck_trials_state CHECK (state IN ('running', 'converged', 'failed', 'stopped', 'oom', 'cancelled', 'abandoned'))
);
INSERT INTO "trials" VALUES('f6a3f515a07c4827a3de76dd12534c54',1,1,1,'run-V100-0','node-1',64,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','best known batch size; the cost of an epoch on this GPU is known from a survey alone','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,5,'2026-01-01 00:00:00.000000','2026-01-01 00:13:00.000000','2026-01-01 00:03:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 100.0}',NULL,'2026-01-01 00:01:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 250.0, "log_mean": 6.022236205774735, "log_deviation": 0.2882919576935737, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('4a765a2308ad4b9eb72fe98a9a3fbe35',1,1,2,'run-V100-1','node-1',32,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 378.7 J-eq (95 % interval 134.2 to 854.7); expected to save 93.36 J-eq in each later run, for about 0 J-eq more in this one; best known batch size: 64, expected cost 415.6 J-eq (95 % interval 361 to 476.1); so far 0.45 runs behind always running the default','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,6,'2026-01-01 00:03:00.000000','2026-01-01 00:16:00.000000','2026-01-01 00:06:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 100.0}',NULL,'2026-01-01 00:04:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 250.0, "log_mean": 5.820085674568366, "log_deviation": 0.48276402214058933, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('80d4a2e948a04359ba39708b93e9e867',1,1,3,'run-V100-2','node-1',128,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 494.5 J-eq (95 % interval 289.6 to 790.8); expected to save 20.92 J-eq in each later run, for about 75.52 J-eq more in this one; best known batch size: 32, expected cost 414.3 J-eq (95 % interval 340.4 to 499.5); so far 0.02 runs behind always running the default','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,7,'2026-01-01 00:06:00.000000','2026-01-01 00:19:00.000000','2026-01-01 00:09:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 100.0}',NULL,'2026-01-01 00:07:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 250.0, "log_mean": 6.165707164319945, "log_deviation": 0.2751342540828852, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('a06528001fca4f8d934e90e62d8ffb3f',1,1,4,'run-V100-3','node-1',32,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 419.2 J-eq (95 % interval 348.4 to 500); expected to save 5.78 J-eq in each later run, for about 8.699 J-eq more in this one; best known batch size: 64, expected cost 411.1 J-eq (95 % interval 364.4 to 462.1); so far 0.03 runs ahead of always running the default','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,8,'2026-01-01 00:09:00.000000','2026-01-01 00:22:00.000000','2026-01-01 00:12:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 100.0}',NULL,'2026-01-01 00:10:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 250.0, "log_mean": 6.0290018772924014, "log_deviation": 0.13595894948562065, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('c4da34b5a7ce45618f3b56918ef130b0',1,1,5,NULL,NULL,128,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 420.8 J-eq (95 % interval 356.1 to 493.8); expected to save 4.517 J-eq in each later run, for about 10.32 J-eq more in this one; best known batch size: 64, expected cost 410.8 J-eq (95 % interval 368.5 to 456.6); so far 0.02 runs ahead of always running the default','abandoned','its lease expired',NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:12:00.000000','2026-01-01 00:22:00.000000','2026-01-01 00:24:00.000000',NULL,'{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:24:00.000000',0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 250.0, "log_mean": 6.034731327742707, "log_deviation": 0.12226546910381632, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('a04401f8d40943069648069c0b78a96a',1,2,6,'run-A40-0','node-1',64,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','best known batch size; the cost of an epoch on this GPU is known from a survey alone','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,13,'2026-01-01 00:12:00.000000','2026-01-01 00:25:00.000000','2026-01-01 00:15:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 160.0}',NULL,'2026-01-01 00:13:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 600.0, "log_mean": 6.642579920393381, "log_deviation": 0.21171548616598343, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('2626c6e33d6f4a588cd00b7d94caa4a4',1,2,7,'run-A40-1','node-1',16,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 946.7 J-eq (95 % interval 575.9 to 1470); expected to save 17.39 J-eq in each later run, for about 155.2 J-eq more in this one; best known batch size: 32, expected cost 781.9 J-eq (95 % interval 689.6 to 883); so far 0.07 runs behind always running the default','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,14,'2026-01-01 00:15:00.000000','2026-01-01 00:28:00.000000','2026-01-01 00:18:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 160.0}',NULL,'2026-01-01 00:16:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 600.0, "log_mean": 6.821087026828475, "log_deviation": 0.2526225736873118, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('33118ac3855a409cb469b2b0378b97fc',1,2,8,'run-A40-2','node-1',128,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 859.1 J-eq (95 % interval 668.1 to 1088); expected to save 10.42 J-eq in each later run, for about 87.54 J-eq more in this one; best known batch size: 32, expected cost 770.4 J-eq (95 % interval 688.9 to 858.8); so far 0.17 runs behind always running the default','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,15,'2026-01-01 00:18:00.000000','2026-01-01 00:31:00.000000','2026-01-01 00:21:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 160.0}',NULL,'2026-01-01 00:19:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 600.0, "log_mean": 6.744852464400118, "log_deviation": 0.14876939502779604, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('c19ed210248d43b7bcaa3a4408780643',1,2,9,'run-A40-3','node-1',32,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','best known batch size: expected cost 773 J-eq (95 % interval 696.1 to 855.9); exploring another would cost more than it is expected to save; so far 0.22 runs behind always running the default','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,16,'2026-01-01 00:21:00.000000','2026-01-01 00:34:00.000000','2026-01-01 00:24:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,0.0,0.0,NULL,0,0.0,0.0,'{"place": 1.0, "time_seconds": 1.0, "energy_joules": 160.0}',NULL,'2026-01-01 00:22:00.000000',NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 600.0, "log_mean": 6.64597959396828, "log_deviation": 0.09215993349525825, "fixed": 0.0}',NULL);
INSERT INTO "trials" VALUES('25ed0c7266ad495681bc928a2c686cf8',1,2,10,NULL,NULL,16,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 821.4 J-eq (95 % interval 719.2 to 934); expected to save 10.55 J-eq in each later run, for about 11.46 J-eq more in this one; best known batch size: 64, expected cost 809.5 J-eq (95 % interval 751.7 to 870.6); so far 0.02 runs behind always running the default','running','not at the target yet',NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:24:00.000000','2026-01-01 00:34:00.000000',NULL,NULL,'{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null, "simulated": false}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,'{"policy": "rheostat", "eta_knob": 0.75, "max_power_watts": 600.0, "log_mean": 6.706275659436771, "log_deviation": 0.09717892400533935, "fixed": 0.0}',NULL);
CREATE INDEX ix_trials_placement_pk_sequence ON trials (placement_pk, sequence);
CREATE INDEX ix_trials_running ON trials (job_pk) WHERE state = 'running';
CREATE INDEX ix_runs_placement_pk_sequence ON runs (placement_pk, sequence);
CREATE INDEX ix_power_measurements_placement_pk_sequence ON power_measurements (placement_pk, sequence);
CREATE INDEX ix_audit_namespace_audit_pk ON audit (namespace, audit_pk);
CREATE INDEX ix_power_measurements_placement_pk_idempotency_key ON power_measurements (placement_pk, idempotency_key);
CREATE INDEX ix_trials_resumes ON trials (resumes) WHERE resumes IS NOT NULL;
CREATE INDEX ix_trials_placement_pk_batch_size ON trials (placement_pk, batch_size);
CREATE INDEX ix_trials_job_pk_state_number ON trials (job_pk, state, number);
CREATE INDEX ix_power_measurements_placement_pk_batch_size_sequence ON power_measurements (placement_pk, batch_size, sequence);
CREATE INDEX ix_power_measurements_placement_pk_power_limit_watts ON power_measurements (placement_pk, batch_size, power_limit_watts, sequence);
CREATE INDEX ix_trials_tagged ON trials (job_pk, number) WHERE tags IS NOT NULL;
CREATE INDEX ix_trials_node ON trials (node, created_at) WHERE node IS NOT NULL;
COMMIT;
